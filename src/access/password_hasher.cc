#include "access/password_hasher.h"

#include <sodium.h>

#include <array>

namespace fettle::access {
namespace {

using Text = std::array<char, crypto_pwhash_STRBYTES>;

Result<std::string> hash_now(const std::string& password, const PasswordHasher::Options& options) {
  Text text{};
  // Fails only for want of memory.
  if (crypto_pwhash_str_alg(text.data(), password.data(), password.size(), options.passes, options.memory_bytes,
                            crypto_pwhash_ALG_ARGON2ID13) != 0) {
    return std::unexpected(Error(ErrorCode::kResourceExhausted, "no memory for hashing a password")
                               .with_retry_after(std::chrono::seconds(5)));
  }
  return std::string(text.data());
}

// libsodium reads a field of fixed size.
Text padded(const std::string& stored) {
  Text text{};
  stored.copy(text.data(), text.size() - 1);
  return text;
}

bool is_stored_hash(const std::string& stored) {
  return stored.starts_with(crypto_pwhash_argon2id_STRPREFIX) && stored.size() < crypto_pwhash_STRBYTES;
}

}  // namespace

PasswordHasher::PasswordHasher(Options options, metrics::Registry& registry)
    : options_(options),
      seconds_(registry.histogram("fettle_password_hash_seconds", "Time to hash or verify one password.",
                                  {0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6})),
      refused_(
          registry.counter("fettle_password_hash_refused_total", "Passwords not looked at: too many were waiting.")) {
  // Negative when the system gives no randomness; without it nothing here is safe.
  if (sodium_init() < 0) std::abort();
  if (auto decoy = hash_now("", options_)) decoy_ = *std::move(decoy);
  for (unsigned i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { work(); });
}

PasswordHasher::~PasswordHasher() { stop(); }

void PasswordHasher::hash(Secret password, std::move_only_function<void(Result<std::string>)> done) {
  submit({.password = std::move(password), .stored = {}, .hashed = std::move(done), .verified = {}});
}

void PasswordHasher::verify(Secret password, std::string stored, std::move_only_function<void(Result<Verdict>)> done) {
  submit({.password = std::move(password), .stored = std::move(stored), .hashed = {}, .verified = std::move(done)});
}

void PasswordHasher::refuse(Job& job, const Error& error) {
  if (job.hashed) {
    job.hashed(std::unexpected(error));
  } else {
    job.verified(std::unexpected(error));
  }
}

void PasswordHasher::submit(Job job) {
  {
    MutexLock lock(mutex_);
    if (!stopping_ && queue_.size() < options_.queue_max) {
      queue_.push_back(std::move(job));
      changed_.notify_one();
      return;
    }
  }
  refused_.add();
  refuse(job, Error(ErrorCode::kResourceExhausted, "too many sign-ins at once; try again in a moment")
                  .with_retry_after(std::chrono::seconds(2)));
}

void PasswordHasher::work() {
  while (true) {
    Job job;
    {
      MutexLock lock(mutex_);
      while (queue_.empty() && !stopping_) changed_.wait(lock);
      if (stopping_) return;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    run(job);
  }
}

void PasswordHasher::run(Job& job) {
  const auto begun = std::chrono::steady_clock::now();
  const auto observe = [&] {
    seconds_.observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
  };
  if (job.hashed) {
    auto made = hash_now(job.password.reveal(), options_);
    observe();
    job.hashed(std::move(made));
    return;
  }
  const bool is_real = is_stored_hash(job.stored);
  const Text text = padded(is_real ? job.stored : decoy_);
  const std::string& password = job.password.reveal();
  Verdict verdict;
  const bool matches = crypto_pwhash_str_verify(text.data(), password.data(), password.size()) == 0;
  verdict.matches = matches && is_real;
  verdict.is_outdated =
      verdict.matches && crypto_pwhash_str_needs_rehash(text.data(), options_.passes, options_.memory_bytes) != 0;
  observe();
  job.verified(verdict);
}

void PasswordHasher::stop() {
  std::deque<Job> left;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    left.swap(queue_);
  }
  changed_.notify_all();
  for (Job& job : left) refuse(job, Error(ErrorCode::kCancelled, "the server is stopping"));
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

}  // namespace fettle::access
