# What an installation holds beside the programs and plugins, which install
# themselves where they are built.

# The build tree has the shape of an installation, so the programs find their
# default model and their plugins in both.
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/share/bitnet/models)
file(CREATE_LINK ${PROJECT_SOURCE_DIR}/models/story.gguf
  ${PROJECT_BINARY_DIR}/share/bitnet/models/story.gguf SYMBOLIC)

install(FILES models/story.gguf DESTINATION ${CMAKE_INSTALL_DATADIR}/bitnet/models)
install(FILES include/bitnet_plugin.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES conf/bitnet.ini DESTINATION ${CMAKE_INSTALL_SYSCONFDIR}/bitnet)
install(FILES README.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

configure_file(packaging/bitnet-plugin.pc.in ${PROJECT_BINARY_DIR}/bitnet-plugin.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/bitnet-plugin.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

configure_file(packaging/bitnetd.service.in ${PROJECT_BINARY_DIR}/bitnetd.service @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/bitnetd.service
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/systemd/system)

foreach(page bitnet.1 bitnet-plugins.1 bitnet.ini.5 bitnetd.8)
  string(REGEX REPLACE ".*\\." "" section ${page})
  install(FILES packaging/man/${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()
