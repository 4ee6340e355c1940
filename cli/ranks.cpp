#include "ranks.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "moekit/error.hpp"

#ifdef MOEKIT_MPI
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>
#endif

namespace moekit::cli {

namespace {

/// A number that Open MPI's or MPICH's mpirun leaves for the processes that it starts.
int launched(const char* of_open_mpi, const char* of_mpich, int otherwise) {
  for (const char* name : {of_open_mpi, of_mpich})
    if (const char* text = std::getenv(name)) return std::atoi(text);
  return otherwise;
}

int launched_size() { return launched("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", 1); }

#ifdef MOEKIT_MPI

class MpiCommunicator final : public Communicator {
 public:
  void begin() {
    int given = 0;
    // Only the thread that adds up what the others did speaks to other ranks.
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &given);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    begun_ = true;
  }
  bool begun() const { return begun_; }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void send(int to, std::span<const double> values) const override {
    in_pieces(values,
              [&](const double* at, int count) { MPI_Send(at, count, MPI_DOUBLE, to, 0, MPI_COMM_WORLD); });
  }
  void receive(int from, std::span<double> values) const override {
    in_pieces(values, [&](double* at, int count) {
      MPI_Recv(at, count, MPI_DOUBLE, from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    });
  }
  void share(std::span<double> values) const override {
    in_pieces(values, [](double* at, int count) { MPI_Bcast(at, count, MPI_DOUBLE, 0, MPI_COMM_WORLD); });
  }
  void share(std::string& bytes) const override {
    if (size_ == 1) return;  // MPI may not have begun
    unsigned long long size = bytes.size();
    MPI_Bcast(&size, 1, MPI_UNSIGNED_LONG_LONG, 0, MPI_COMM_WORLD);
    bytes.resize(size);
    in_pieces(std::span(bytes),
              [](char* at, int count) { MPI_Bcast(at, count, MPI_CHAR, 0, MPI_COMM_WORLD); });
  }
  /// Ranks on this machine.
  int neighbours() const {
    MPI_Comm machine;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
    int size = 1;
    MPI_Comm_size(machine, &size);
    MPI_Comm_free(&machine);
    return size;
  }
  void end(int code) const {
    if (code == 0)
      MPI_Finalize();
    else
      MPI_Abort(MPI_COMM_WORLD, code);
  }

 private:
  /// MPI counts in ints.
  template <class T, class Call>
  static void in_pieces(std::span<T> values, const Call& call) {
    constexpr std::size_t kMost = std::size_t{1} << 30;
    for (std::size_t at = 0; at < values.size(); at += kMost)
      call(values.data() + at, static_cast<int>(std::min(kMost, values.size() - at)));
  }

  int rank_ = 0, size_ = 1;
  bool begun_ = false;
};

MpiCommunicator communicator;

#endif

}  // namespace

#ifdef MOEKIT_MPI

void begin_ranks() {
  if (launched_size() > 1) communicator.begin();
}
const Communicator& ranks() { return communicator; }

int threads_of_rank(int asked) {
  if (asked > 0 || communicator.size() == 1) return asked;
  const int all = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)), own = available_cores();
  const int neighbours = communicator.neighbours();
  return own < all ? own : std::max(1, all / neighbours);  // a rank may be bound to its cores already
}

void wait_to_fail() {
  if (ranks().rank() > 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(1000 + std::min(250 * ranks().rank(), 4000)));
}

int end_ranks(int code) {
  if (communicator.begun()) communicator.end(code);
  return code;
}

#else

void begin_ranks() {
  if (launched_size() == 1) return;
  if (launched("OMPI_COMM_WORLD_RANK", "PMI_RANK", 0) > 0) _exit(64);  // the first rank says it for all
  throw Error(Errc::usage,
              "this moekit was built without MPI; build it with -DMOEKIT_MPI=ON, or leave mpirun out");
}
const Communicator& ranks() { return one_rank(); }
int threads_of_rank(int asked) { return asked; }
void wait_to_fail() {}
int end_ranks(int code) { return code; }

#endif

}  // namespace moekit::cli
