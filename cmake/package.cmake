# `cmake --install` and the Debian packages: exec-gateway (what runs on an edge machine), exec-gateway-agent (the reference guest
# agent) and exec-gateway-load (the load tester). `make package` writes them to build/packages.
include(GNUInstallDirs)
set(CMAKE_INSTALL_DOCDIR ${CMAKE_INSTALL_DATADIR}/doc/exec-gateway)

install(TARGETS exec-gateway RUNTIME COMPONENT gateway)
install(FILES conf/gateway.yaml conf/minimal.yaml conf/routes.yaml DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples COMPONENT gateway)
install(FILES README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT gateway)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT gateway FILES_MATCHING REGEX "[.](md|png|svg)$")
install(DIRECTORY conf/monitoring DESTINATION ${CMAKE_INSTALL_DATADIR}/exec-gateway COMPONENT gateway)
install(FILES conf/sysusers.conf DESTINATION lib/sysusers.d RENAME exec-gateway.conf COMPONENT gateway)
file(GLOB units CONFIGURE_DEPENDS conf/*.service conf/*.socket)
install(FILES ${units} DESTINATION lib/systemd/system COMPONENT gateway)

install(TARGETS guest-agent RUNTIME COMPONENT agent)

install(TARGETS exec-load exec-load-emit exec-load-app RUNTIME COMPONENT load)
install(PROGRAMS tests/load/run DESTINATION ${CMAKE_INSTALL_DATADIR}/exec-gateway-load COMPONENT load)
install(DIRECTORY tests/load/scenarios DESTINATION ${CMAKE_INSTALL_DATADIR}/exec-gateway-load COMPONENT load)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME exec-gateway)
set(CPACK_PACKAGE_VENDOR "exec-gateway authors")
set(CPACK_PACKAGE_CONTACT "exec-gateway authors <root@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "edge proxy in front of cloud computers")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL gateway agent load)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_GATEWAY_PACKAGE_NAME exec-gateway)
set(CPACK_DEBIAN_GATEWAY_PACKAGE_DEPENDS "ca-certificates, passwd, procps")
set(CPACK_DEBIAN_GATEWAY_PACKAGE_SUGGESTS "redis-server, prometheus")
set(CPACK_DEBIAN_GATEWAY_PACKAGE_CONTROL_EXTRA
    "${CMAKE_CURRENT_SOURCE_DIR}/cmake/deb/postinst;${CMAKE_CURRENT_SOURCE_DIR}/cmake/deb/prerm;${CMAKE_CURRENT_SOURCE_DIR}/cmake/deb/postrm")
set(CPACK_COMPONENT_GATEWAY_DESCRIPTION
    "Terminates HTTP/1.1 and HTTP/2 from clients, checks their tokens, and relays process calls and published ports to the guest agents.")

set(CPACK_DEBIAN_AGENT_PACKAGE_NAME exec-gateway-agent)
set(CPACK_COMPONENT_AGENT_DESCRIPTION "The reference guest agent: a process.Process server over HTTP/2 and HTTP/1.1, and the port tunnel.")

set(CPACK_DEBIAN_LOAD_PACKAGE_NAME exec-gateway-load)
set(CPACK_DEBIAN_LOAD_PACKAGE_SUGGESTS "exec-gateway, exec-gateway-agent, python3, openssl, redis-server")
set(CPACK_COMPONENT_LOAD_DESCRIPTION "Open-loop load tests of an exec-gateway, with scenarios, thresholds and a report.")
include(CPack)
