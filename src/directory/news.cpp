#include "directory/news.h"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

namespace shunt::directory {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

constexpr std::size_t message_bytes = 1u << 20;
constexpr std::array states = {RecordState::starting, RecordState::ready, RecordState::draining};

std::unexpected<Status> bad(std::string_view what) {
  return fail(Code::invalid_argument, "S5068", fmt::format("news of the directory: {} is not of its form", what));
}

/// Definitions are JSON texts inside the JSON: no node reads them but who needs them.
ordered_json record_json(const Record& record, bool with_definition) {
  ordered_json out = {{"service", record.service},
                      {"hash", record.hash},
                      {"state", state_name(record.state)},
                      {"weight", record.weight},
                      {"capacity", record.capacity}};
  if (with_definition) out["definition"] = record.definition;
  return out;
}

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

template <typename Number>
bool number_of(const json& object, const char* key, Number& to) {
  const auto found = object.find(key);
  if (found == object.end()) return true;
  if (!found->is_number_unsigned() || found->get<std::uint64_t>() > std::numeric_limits<Number>::max()) return false;
  to = found->get<Number>();
  return true;
}

bool flag_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

Result<Record> read_record(const json& object) {
  if (!object.is_object()) return bad("a record");
  Record record;
  record.service = text_of(object, "service");
  record.hash = text_of(object, "hash");
  record.definition = text_of(object, "definition");
  const std::string state = text_of(object, "state");
  for (const RecordState each : states) {
    if (state_name(each) == state) record.state = each;
  }
  if (record.service.empty() || record.hash.empty() || !number_of(object, "weight", record.weight) ||
      !number_of(object, "capacity", record.capacity)) {
    return bad("a record");
  }
  return record;
}

class Messages {
 public:
  Messages(std::string_view node, std::uint64_t epoch, bool whole) : node_(node), epoch_(epoch), whole_(whole) {}

  void put(ordered_json record, std::size_t bytes) {
    if (bytes_ > 0 && bytes_ + bytes > message_bytes) end(true);
    bytes_ += bytes;
    put_.push_back(std::move(record));
  }
  void gone(const std::string& service) { gone_.push_back(service); }
  std::vector<std::string> finish() {
    if (whole_ || !put_.empty() || !gone_.empty()) end(false);
    return std::move(out_);
  }

 private:
  void end(bool more) {
    const ordered_json message = {{"node", node_},
                                  {"epoch", epoch_},
                                  {"whole", std::exchange(whole_, false)},
                                  {"more", more},
                                  {"put", std::exchange(put_, ordered_json::array())},
                                  {"gone", std::exchange(gone_, ordered_json::array())}};
    out_.push_back(message.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
    bytes_ = 0;
  }

  const std::string node_;
  const std::uint64_t epoch_;
  bool whole_;
  std::size_t bytes_ = 0;
  ordered_json put_ = ordered_json::array();
  ordered_json gone_ = ordered_json::array();
  std::vector<std::string> out_;
};

}  // namespace

std::vector<std::string> write_news(std::string_view node, std::uint64_t epoch, const Snapshot* before,
                                    const Snapshot& now) {
  Messages messages(node, epoch, before == nullptr);
  for (const auto& record : now.records) {
    if (record->node != node) continue;
    const Record* old = before == nullptr ? nullptr : before->find(node, record->service);
    if (old != nullptr && old->revision == record->revision) continue;
    const bool with_definition = old == nullptr || old->hash != record->hash;
    messages.put(record_json(*record, with_definition), with_definition ? record->definition.size() : 200);
  }
  if (before != nullptr) {
    for (const auto& record : before->records) {
      if (record->node == node && now.find(node, record->service) == nullptr) messages.gone(record->service);
    }
  }
  return messages.finish();
}

Result<News> read_news(std::string_view text) {
  const json whole = json::parse(text, nullptr, false);
  if (!whole.is_object()) return bad("the message");
  News news;
  news.node = text_of(whole, "node");
  news.whole = flag_of(whole, "whole");
  news.more = flag_of(whole, "more");
  if (news.node.empty() || !number_of(whole, "epoch", news.epoch)) return bad("'node' or 'epoch'");
  if (const auto put = whole.find("put"); put != whole.end()) {
    if (!put->is_array()) return bad("'put'");
    for (const json& each : *put) {
      SHUNT_TRY(Record record, read_record(each));
      record.node = news.node;
      record.epoch = news.epoch;
      news.put.push_back(std::move(record));
    }
  }
  if (const auto gone = whole.find("gone"); gone != whole.end()) {
    if (!gone->is_array()) return bad("'gone'");
    for (const json& each : *gone) {
      if (!each.is_string()) return bad("'gone'");
      news.gone.push_back(each.get<std::string>());
    }
  }
  return news;
}

}  // namespace shunt::directory
