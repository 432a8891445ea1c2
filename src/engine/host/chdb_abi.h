// The part of libchdb's C ABI that the host uses, declared by hand: the library's package ships no header.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {
struct chdb_connection_;
using chdb_connection = chdb_connection_*;
struct chdb_result;

chdb_connection* chdb_connect(int argc, char** argv);
void chdb_close_conn(chdb_connection* connection);
chdb_result* chdb_query_with_params_n(chdb_connection connection, const char* sql, size_t sql_size, const char* format,
                                      size_t format_size, const char* const* names, const size_t* name_sizes,
                                      const char* const* values, const size_t* value_sizes, size_t count);
chdb_result* chdb_stream_query_with_params_n(chdb_connection connection, const char* sql, size_t sql_size,
                                             const char* format, size_t format_size, const char* const* names,
                                             const size_t* name_sizes, const char* const* values,
                                             const size_t* value_sizes, size_t count);
chdb_result* chdb_stream_fetch_result(chdb_connection connection, chdb_result* stream);
void chdb_stream_cancel_query(chdb_connection connection, chdb_result* stream);
void chdb_destroy_query_result(chdb_result* result);
char* chdb_result_buffer(chdb_result* result);
size_t chdb_result_length(chdb_result* result);
uint64_t chdb_result_storage_rows_read(chdb_result* result);
uint64_t chdb_result_storage_bytes_read(chdb_result* result);
uint64_t chdb_result_rows_read(chdb_result* result);
uint64_t chdb_result_rows_written(chdb_result* result);
uint64_t chdb_result_bytes_written(chdb_result* result);
const char* chdb_result_error(chdb_result* result);
void chdb_set_signal_handlers_enabled(int enabled);
}
