# The reference guest agent: a library for its unit tests, and the program.
add_library(gw_agent STATIC
    call.c call_input.c call_methods.c guest_agent.c gzip.c process.c process_exit.c process_input.c process_service.c
    plain_reply.c process_table.c pty.c rpc.c rpc_request.c spawn.c subscriber.c tunnel.c)
target_include_directories(gw_agent PUBLIC ${PROJECT_SOURCE_DIR})
target_link_libraries(gw_agent
    PUBLIC gw_flags gw_base gw_net gw_http gw_connect
    PRIVATE PkgConfig::ZLIB)

add_executable(guest-agent main.c)
target_link_libraries(guest-agent PRIVATE gw_agent)
