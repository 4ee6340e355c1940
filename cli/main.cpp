#include "app.hpp"

int main(int argc, char** argv) { return moekit::cli::run_program(argc, argv); }
