// grpc_peer: what ./dev bench gateway compares with. grpc++'s asynchronous server with one thread, and a client on its stock
// asynchronous stub with one thread.
//
//   grpc_peer serve                                  prints "ready PORT"; ends with its standard input
//   grpc_peer drive ADDRESS IN_FLIGHT SECONDS        prints one line of JSON
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "echo.grpc.pb.h"

namespace {

using bench::v1::Echo;
using bench::v1::Text;
using Clock = std::chrono::steady_clock;

// One call on the server: asked for, answered, over; then used again for the next one.
class Answering {
 public:
  Answering(Echo::AsyncService& service, grpc::ServerCompletionQueue& queue) : service_(service), queue_(queue) {
    ask();
  }
  void step(bool ok) {
    if (!ok) return;
    if (!answering_) {
      answering_ = true;
      answer_.set_text(request_.text());
      responder_->Finish(answer_, grpc::Status::OK, this);
    } else {
      ask();
    }
  }

 private:
  void ask() {
    answering_ = false;
    context_ = std::make_unique<grpc::ServerContext>();
    responder_ = std::make_unique<grpc::ServerAsyncResponseWriter<Text>>(context_.get());
    service_.RequestSay(context_.get(), &request_, responder_.get(), &queue_, &queue_, this);
  }

  Echo::AsyncService& service_;
  grpc::ServerCompletionQueue& queue_;
  std::unique_ptr<grpc::ServerContext> context_;
  std::unique_ptr<grpc::ServerAsyncResponseWriter<Text>> responder_;
  Text request_;
  Text answer_;
  bool answering_ = false;
};

int serve() {
  Echo::AsyncService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(64 << 20);
  builder.RegisterService(&service);
  auto queue = builder.AddCompletionQueue();
  auto server = builder.BuildAndStart();
  if (!server) return 1;
  std::printf("ready %d\n", port);
  std::fflush(stdout);
  std::thread end([&] {
    char byte = 0;
    while (::read(STDIN_FILENO, &byte, 1) > 0) {
    }
    std::_Exit(0);  // Whoever started it has gone.
  });
  std::vector<std::unique_ptr<Answering>> calls;
  for (int i = 0; i < 1024; ++i) calls.push_back(std::make_unique<Answering>(service, *queue));
  void* tag = nullptr;
  bool ok = false;
  while (queue->Next(&tag, &ok)) static_cast<Answering*>(tag)->step(ok);
  end.join();
  return 0;
}

struct Asking {
  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientAsyncResponseReader<Text>> reader;
  Text answer;
  grpc::Status status;
};

int drive(const std::string& address, int in_flight, double seconds) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(64 << 20);
  auto stub = Echo::NewStub(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
  grpc::CompletionQueue queue;
  Text request;
  request.set_text(std::string(64, 'x'));
  std::vector<Asking> all(static_cast<std::size_t>(in_flight));
  const auto ask = [&](Asking& one) {
    one.context = std::make_unique<grpc::ClientContext>();
    one.reader = stub->AsyncSay(one.context.get(), request, &queue);
    one.reader->Finish(&one.answer, &one.status, &one);
  };
  for (Asking& one : all) ask(one);
  const auto begin = Clock::now();
  const auto end = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  std::size_t calls = 0;
  std::size_t failed = 0;
  int open = in_flight;
  void* tag = nullptr;
  bool ok = false;
  while (open > 0 && queue.Next(&tag, &ok)) {
    auto& one = *static_cast<Asking*>(tag);
    ++calls;
    if (!one.status.ok() || one.answer.text().size() != 64) ++failed;
    if (Clock::now() < end && failed == 0) {
      ask(one);
    } else {
      --open;
    }
  }
  const double took = std::chrono::duration<double>(Clock::now() - begin).count();
  std::printf("{\"calls\": %zu, \"failed\": %zu, \"calls_per_second\": %.1f}\n", calls, failed,
              static_cast<double>(calls) / took);
  return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "serve") return serve();
  if (what == "drive" && argc == 5) return drive(argv[2], std::atoi(argv[3]), std::atof(argv[4]));
  std::fprintf(stderr, "grpc_peer serve | grpc_peer drive ADDRESS IN_FLIGHT SECONDS\n");
  return 64;
}
