// bench_links_grpcpp: an echo over grpc++. Variants are WAY-ADDRESS:
//
//   unary-tcp      unary-unix       completion queues on both sides, one thread each; one call at a time by the blocking stub
//   callback-tcp   callback-unix    the callback interface on both sides
//   stream-tcp     stream-unix      one stream both ways, a message each way is a call; completion queues
#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <deque>
#include <mutex>

#include "echo.grpc.pb.h"
#include "measure.h"

namespace bench {
namespace {

using links::Block;
using links::Echo;

/// Something that a completion queue tells of.
struct Step {
  virtual ~Step() = default;
  virtual void step(bool ok) = 0;
};

void run(grpc::CompletionQueue& queue, const Meter* until = nullptr) {
  void* tag = nullptr;
  bool ok = false;
  while ((until == nullptr || !until->over()) && queue.Next(&tag, &ok)) static_cast<Step*>(tag)->step(ok);
}

// ---- The callee ---------------------------------------------------------------------------------------------------------

/// One unary call: asked for, answered, over; then used again for the next.
class Answering final : public Step {
 public:
  Answering(Echo::AsyncService& service, grpc::ServerCompletionQueue& queue) : service_(service), queue_(queue) {
    ask();
  }
  void step(bool ok) override {
    if (!ok) return;
    if (is_answering_) return ask();
    is_answering_ = true;
    answer_.mutable_data()->swap(*request_.mutable_data());
    responder_->Finish(answer_, grpc::Status::OK, this);
  }

 private:
  void ask() {
    is_answering_ = false;
    context_ = std::make_unique<grpc::ServerContext>();
    responder_ = std::make_unique<grpc::ServerAsyncResponseWriter<Block>>(context_.get());
    service_.RequestSay(context_.get(), &request_, responder_.get(), &queue_, &queue_, this);
  }
  Echo::AsyncService& service_;
  grpc::ServerCompletionQueue& queue_;
  std::unique_ptr<grpc::ServerContext> context_;
  std::unique_ptr<grpc::ServerAsyncResponseWriter<Block>> responder_;
  Block request_;
  Block answer_;
  bool is_answering_ = false;
};

/// A step that calls a method.
template <typename Owner>
class Told final : public Step {
 public:
  Told(Owner& owner, void (Owner::*method)(bool)) : owner_(owner), method_(method) {}
  void step(bool ok) override { (owner_.*method_)(ok); }

 private:
  Owner& owner_;
  void (Owner::*method_)(bool);
};

/// The one stream: reads on while it writes.
class Talking {
 public:
  Talking(Echo::AsyncService& service, grpc::ServerCompletionQueue& queue) {
    service.RequestTalk(&context_, &stream_, &queue, &queue, &began_);
  }

 private:
  void on_begun(bool ok) {
    if (ok) stream_.Read(&request_, &read_);
  }
  void on_read(bool ok) {
    if (!ok) return;
    answers_.push_back(std::move(request_));
    stream_.Read(&request_, &read_);
    if (!is_writing_) write();
  }
  void on_written(bool ok) {
    is_writing_ = false;
    answers_.pop_front();
    if (ok && !answers_.empty()) write();
  }
  void write() {
    is_writing_ = true;
    stream_.Write(answers_.front(), &written_);
  }
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<Block, Block> stream_{&context_};
  Block request_;
  std::deque<Block> answers_;
  bool is_writing_ = false;
  Told<Talking> began_{*this, &Talking::on_begun};
  Told<Talking> read_{*this, &Talking::on_read};
  Told<Talking> written_{*this, &Talking::on_written};
};

class CallbackEcho final : public Echo::CallbackService {
  grpc::ServerUnaryReactor* Say(grpc::CallbackServerContext* context, const Block* request, Block* answer) override {
    answer->set_data(request->data());
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

template <typename Ready>
void serve(bool is_callback, const std::string& address, Ready ready) {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(64 << 20);
  CallbackEcho callback;
  Echo::AsyncService service;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  if (is_callback) {
    builder.RegisterService(&callback);
  } else {
    builder.RegisterService(&service);
    queue = builder.AddCompletionQueue();
  }
  auto server = builder.BuildAndStart();
  if (!server) give_up("grpc++ can't listen");
  if (is_callback) {
    ready(std::to_string(port));
    server->Wait();
    return;
  }
  std::vector<std::unique_ptr<Answering>> calls;
  for (int i = 0; i < 512; ++i) calls.push_back(std::make_unique<Answering>(service, *queue));
  Talking talking(service, *queue);
  ready(std::to_string(port));
  run(*queue);
}

// ---- The caller ---------------------------------------------------------------------------------------------------------

void drive_blocking(const Ask& ask, Echo::Stub& stub, Meter& meter) {
  Block block;
  block.set_data(std::string(ask.bytes, 'x'));
  Block answer;
  while (!meter.over()) {
    auto began = ticks();
    grpc::ClientContext context;
    if (!stub.Say(&context, block, &answer).ok()) give_up("a call failed");
    meter.answered(began);
  }
}

/// One of the calls in flight: asks again when it was answered.
class Asking final : public Step {
 public:
  Asking(Echo::Stub& stub, grpc::CompletionQueue& queue, Meter& meter, const Block& block)
      : stub_(stub), queue_(queue), meter_(meter), block_(block) {
    ask();
  }
  void step(bool ok) override {
    if (!ok || !status_.ok()) give_up("a call failed");
    meter_.answered(began_);
    if (!meter_.over()) ask();
  }

 private:
  void ask() {
    began_ = ticks();
    context_ = std::make_unique<grpc::ClientContext>();
    reader_ = stub_.AsyncSay(context_.get(), block_, &queue_);
    reader_->Finish(&answer_, &status_, this);
  }
  Echo::Stub& stub_;
  grpc::CompletionQueue& queue_;
  Meter& meter_;
  const Block& block_;
  std::uint64_t began_ = 0;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<Block>> reader_;
  Block answer_;
  grpc::Status status_;
};

void drive_unary(const Ask& ask, Echo::Stub& stub, Meter& meter) {
  if (ask.in_flight == 1) return drive_blocking(ask, stub, meter);
  Block block;
  block.set_data(std::string(ask.bytes, 'x'));
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<Asking>> calls;
  for (std::size_t i = 0; i < ask.in_flight; ++i) calls.push_back(std::make_unique<Asking>(stub, queue, meter, block));
  run(queue, &meter);
  meter.print();
  std::_Exit(0);
}

/// The callbacks come on grpc++'s threads: the meter has a lock, which only they contend for.
class CallbackAsking {
 public:
  CallbackAsking(Echo::Stub& stub, Meter& meter, std::mutex& mutex, std::condition_variable& over, const Block& block)
      : stub_(stub), meter_(meter), mutex_(mutex), over_(over), block_(block) {
    ask();
  }

 private:
  void ask() {
    began_ = ticks();
    context_ = std::make_unique<grpc::ClientContext>();
    stub_.async()->Say(context_.get(), &block_, &answer_, [this](const grpc::Status& status) {
      if (!status.ok()) give_up("a call failed");
      {
        std::lock_guard lock(mutex_);
        if (!meter_.over()) meter_.answered(began_);
        if (meter_.over()) return over_.notify_all();
      }
      ask();
    });
  }
  Echo::Stub& stub_;
  Meter& meter_;
  std::mutex& mutex_;
  std::condition_variable& over_;
  const Block& block_;
  std::uint64_t began_ = 0;
  std::unique_ptr<grpc::ClientContext> context_;
  Block answer_;
};

void drive_callback(const Ask& ask, Echo::Stub& stub, Meter& meter) {
  Block block;
  block.set_data(std::string(ask.bytes, 'x'));
  std::mutex mutex;
  std::condition_variable over;
  std::vector<std::unique_ptr<CallbackAsking>> calls;
  for (std::size_t i = 0; i < ask.in_flight; ++i) {
    calls.push_back(std::make_unique<CallbackAsking>(stub, meter, mutex, over, block));
  }
  std::unique_lock lock(mutex);
  over.wait(lock, [&] { return meter.over(); });
  meter.print();
  std::_Exit(0);
}

class StreamAsking {
 public:
  StreamAsking(const Ask& ask, Echo::Stub& stub, Meter& meter) : window_(ask.in_flight), meter_(meter) {
    block_.set_data(std::string(ask.bytes, 'x'));
    stream_ = stub.AsyncTalk(&context_, &queue_, &began_);
    run(queue_, &meter_);
  }

 private:
  void on_begun(bool ok) {
    if (!ok) give_up("the stream did not begin");
    stream_->Read(&answer_, &read_);
    write();
  }
  void on_read(bool ok) {
    if (!ok) give_up("the stream ended");
    meter_.answered(window_.end());
    if (meter_.over()) return;
    stream_->Read(&answer_, &read_);
    if (!is_writing_) write();
  }
  void on_written(bool ok) {
    if (!ok) give_up("the stream ended");
    is_writing_ = false;
    write();
  }
  void write() {
    if (!window_.has_room()) return;
    is_writing_ = true;
    window_.begin(ticks());
    stream_->Write(block_, &written_);
  }
  Window window_;
  Meter& meter_;
  Block block_;
  Block answer_;
  bool is_writing_ = false;
  Told<StreamAsking> began_{*this, &StreamAsking::on_begun};
  Told<StreamAsking> read_{*this, &StreamAsking::on_read};
  Told<StreamAsking> written_{*this, &StreamAsking::on_written};
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<Block, Block>> stream_;
};

void measure(const Ask& ask, const std::string& way, bool is_tcp) {
  std::string path = "/tmp/shunt-bench-" + std::to_string(getpid()) + ".grpc";
  Callee callee(ask, [&](auto ready) { serve(way == "callback", is_tcp ? "127.0.0.1:0" : "unix:" + path, ready); });
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(64 << 20);
  auto channel = grpc::CreateCustomChannel(is_tcp ? "127.0.0.1:" + callee.said() : "unix:" + path,
                                           grpc::InsecureChannelCredentials(), arguments);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(5))) give_up("no connection");
  unlink(path.c_str());
  auto stub = Echo::NewStub(channel);
  Meter meter(ask.seconds, callee.clocks());
  if (way == "stream") {
    StreamAsking asking(ask, *stub, meter);
    meter.print();
    std::_Exit(0);
  }
  if (way == "callback") return drive_callback(ask, *stub, meter);
  drive_unary(ask, *stub, meter);
  meter.print();
  std::_Exit(0);
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  auto ask = bench::ask_of(argc, argv);
  auto dash = ask.variant.find('-');
  if (dash == std::string::npos) bench::give_up("variants: unary-tcp, callback-unix, stream-tcp ...");
  bench::measure(ask, ask.variant.substr(0, dash), ask.variant.substr(dash + 1) == "tcp");
}
