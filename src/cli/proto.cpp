// shunt proto: a service's protobuf types, as .proto files or descriptors.
#include "cli/proto.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "base/json_text.h"
#include "cli/commands.h"
#include "cli/node_client.h"
#include "cli/terminal.h"
#include "os/file.h"

namespace shunt::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string text_of(const json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// The node may be another machine's: what it names stays below the folder.
bool stays_below(const fs::path& name) {
  if (name.empty() || name.is_absolute() || !name.has_filename()) return false;
  for (const fs::path& part : name) {
    if (part == ".." || part == ".") return false;
  }
  return true;
}

Result<void> write(const fs::path& path, std::string_view bytes) {
  std::error_code error;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), error);
  if (error) {
    return fail(Code::internal, "S5023",
                fmt::format("can't make {}: {}.", path.parent_path().string(), error.message()));
  }
  if (const auto written = os::write_file(path.string(), bytes); !written) {
    return fail(Code::internal, "S5023", fmt::format("can't write {}: {}.", path.string(), written.error().message()));
  }
  return {};
}

Result<void> print(const ProtoCommand& command, const ProtoAnswer& answer) {
  if (!command.descriptor_set.empty()) {
    if (command.descriptor_set != "-") return write(command.descriptor_set, answer.descriptor_set);
    write_out(answer.descriptor_set);
    return {};
  }
  if (command.out.empty()) {
    write_out(answer.files[answer.main].text);
    if (answer.files.size() > 1) {
      write_err(fmt::format("It imports {} more of the service's files: --out DIR writes them all.\n",
                            answer.files.size() - 1));
    }
    return {};
  }
  for (const ProtoFile& file : answer.files) {
    const fs::path path = fs::path(command.out) / file.name;
    if (const auto written = write(path, file.text); !written) return written;
    write_out(path.string() + "\n");
  }
  return {};
}

}  // namespace

Result<ProtoAnswer> read_proto_answer(std::string_view text) {
  const auto bad = [] {
    return fail(Code::internal, "S5008", "the node's manager answered something that is no service's types.");
  };
  const json root = json::parse(text, nullptr, false);
  const auto files = root.is_object() ? root.find("files") : root.end();
  if (!root.is_object() || files == root.end() || !files->is_array() || files->empty()) return bad();
  ProtoAnswer out;
  const std::string main = text_of(root, "file");
  for (const json& each : *files) {
    ProtoFile file{text_of(each, "name"), text_of(each, "text")};
    if (!stays_below(file.name)) return bad();
    if (file.name == main) out.main = out.files.size();
    out.files.push_back(std::move(file));
  }
  auto set = decode_base64(text_of(root, "descriptor_set"));
  if (!set) return bad();
  out.descriptor_set = *std::move(set);
  return out;
}

int proto(const ProtoCommand& command) {
  const auto answer =
      call_manager(command.node, "proto", fmt::format(R"({{"service":{}}})", quote_json(command.service)));
  if (!answer) return report(answer.error());
  const auto read = read_proto_answer(*answer);
  if (!read) return report(read.error());
  if (const auto printed = print(command, *read); !printed) return report(printed.error());
  return 0;
}

}  // namespace shunt::cli
