// A program of the build: reads docs/openapi.yaml and writes it as JSON.
//
//   openapi_to_json docs/openapi.yaml openapi.json
#include <yaml-cpp/yaml.h>

#include <charconv>
#include <cstdio>
#include <exception>
#include <fstream>
#include <string>

#include "core/json.h"

namespace {

// Plain scalars have the types of YAML's core schema; quoted ones are text.
void append_scalar(std::string& out, const YAML::Node& node) {
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") return fettle::append_json_string(out, text);
  if (text == "true" || text == "false") {
    out += text;
  } else if (text.empty() || text == "null" || text == "~") {
    out += "null";
  } else {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc() && end == text.data() + text.size()) {
      out += text;
    } else {
      fettle::append_json_string(out, text);
    }
  }
}

void append_node(std::string& out, const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Map: {
      out += '{';
      bool is_first = true;
      for (const auto& entry : node) {
        if (!is_first) out += ',';
        is_first = false;
        fettle::append_json_string(out, entry.first.Scalar());
        out += ':';
        append_node(out, entry.second);
      }
      out += '}';
      break;
    }
    case YAML::NodeType::Sequence: {
      out += '[';
      bool is_first = true;
      for (const auto& item : node) {
        if (!is_first) out += ',';
        is_first = false;
        append_node(out, item);
      }
      out += ']';
      break;
    }
    case YAML::NodeType::Scalar: append_scalar(out, node); break;
    case YAML::NodeType::Null:
    case YAML::NodeType::Undefined: out += "null"; break;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: openapi_to_json IN.yaml OUT.json\n", stderr);
    return 2;
  }
  try {
    std::string json;
    append_node(json, YAML::LoadFile(argv[1]));
    std::ofstream out(argv[2], std::ios::binary);
    out << json << '\n';
    return out.good() ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[1], error.what());
    return 1;
  }
}
