# LC_ALL=C; CMake 3.25
make
