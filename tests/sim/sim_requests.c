/* See sim_requests.h: the one buffer and the one arena of a program. */
#include "sim_requests.h"

struct sim_arena_block *sim_arena;
uint8_t sim_request_bytes[SIM_REQUEST_MAX];
struct wire_writer sim_request;
