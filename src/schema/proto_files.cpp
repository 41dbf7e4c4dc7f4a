#include "schema/proto_files.h"

#include <fmt/format.h>
#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>

#include "base/names.h"
#include "schema/known_protos.h"
#include "schema/pool.h"

namespace shunt::schema {

namespace pb = google::protobuf;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t problems_max = 20;
constexpr int tab_width = 8;  // As protobuf's tokenizer counts.

/// The offset of protobuf's line and column, both from 0; its columns jump to the next multiple of 8 at a tab.
std::size_t offset_of(std::string_view text, int line, int column) {
  std::size_t at = 0;
  for (int i = 0; i < line; ++i) {
    const std::size_t next = text.find('\n', at);
    if (next == std::string_view::npos) return text.size();
    at = next + 1;
  }
  for (int passed = 0; passed < column && at < text.size() && text[at] != '\n'; ++at) {
    passed += text[at] == '\t' ? tab_width - passed % tab_width : 1;
  }
  return at;
}

/// The end of the word, the string or the sign that begins there.
std::size_t token_end(std::string_view text, std::size_t begin) {
  auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.'; };
  std::size_t end = begin;
  if (begin < text.size() && (text[begin] == '"' || text[begin] == '\'')) {
    const std::size_t quote = text.find_first_of(std::string{text[begin], '\n'}, begin + 1);
    return quote == std::string_view::npos ? text.size() : quote + (text[quote] == '\n' ? 0 : 1);
  }
  while (end < text.size() && is_word(text[end])) ++end;
  return std::max(end, std::min(begin + 1, text.size()));
}

/// Where it is nested deeper than `depth_max`, by a look at its brackets: the parser descends with the stack.
std::optional<std::size_t> too_deep(std::string_view text, int depth_max) {
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '/' && i + 1 < text.size() && (text[i + 1] == '/' || text[i + 1] == '*')) {
      const std::string_view end = text[i + 1] == '/' ? "\n" : "*/";
      const std::size_t found = text.find(end, i + 2);
      if (found == std::string_view::npos) return std::nullopt;
      i = found + end.size() - 1;
    } else if (c == '"' || c == '\'') {
      for (++i; i < text.size() && text[i] != c && text[i] != '\n'; ++i) {
        if (text[i] == '\\') ++i;
      }
    } else if (c == '{' || c == '[' || c == '(' || c == '<') {
      if (++depth > depth_max) return i;
    } else if ((c == '}' || c == ']' || c == ')' || c == '>') && depth > 0) {
      --depth;
    }
  }
  return std::nullopt;
}

std::string sentence(std::string text) {
  while (text.ends_with('.') || text.ends_with(' ')) text.pop_back();
  if (text.size() > 1 && std::isupper(static_cast<unsigned char>(text[0])) != 0 &&
      std::islower(static_cast<unsigned char>(text[1])) != 0) {
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  }
  return text;
}

/// A comment as one text: without the space that begins its lines.
std::string comment(const std::string& raw) {
  std::string out;
  std::size_t at = 0;
  while (at < raw.size()) {
    const std::size_t end = std::min(raw.find('\n', at), raw.size());
    std::string_view line(raw.data() + at, end - at);
    if (line.starts_with(' ')) line.remove_prefix(1);
    while (line.ends_with(' ') || line.ends_with('\r')) line.remove_suffix(1);
    if (!out.empty()) out += '\n';
    out += line;
    at = end + 1;
  }
  while (out.ends_with('\n')) out.pop_back();
  return out;
}

struct File {
  std::string name;   ///< In the pool.
  std::string shown;  ///< To people.
  fs::path folder;    ///< Empty for a known one.
  std::shared_ptr<const std::string> text;
  pb::FileDescriptorProto proto;
  pb::compiler::SourceLocationTable locations;
  std::vector<std::string> imports;  ///< As written.
};

class Compiler {
 public:
  Compiler(const fs::path& folder, const CompileLimits& limits) : folder_(folder.lexically_normal()), limits_(limits) {}

  std::expected<ProtoFiles, std::vector<Problem>> compile(std::span<const fs::path> files) {
    silence_protobuf();
    std::vector<std::string> asked;
    for (const fs::path& path : files) asked.push_back(load(path.lexically_normal(), nullptr, 0, 0));
    if (problems_.empty()) build();
    if (!problems_.empty()) return std::unexpected(std::move(problems_));
    ProtoFiles out;
    for (const File* file : order_) out.descriptors.push_back(file->proto.SerializeAsString());
    for (const File* file : order_) {
      const auto* built = pool_->FindFileByName(file->name);
      for (int i = 0; i < built->message_type_count(); ++i) out.messages.push_back(built->message_type(i)->full_name());
    }
    for (const std::string& name : asked)
      add_services(*pool_->FindFileByName(name), files_.at(name).shown, out.services);
    return out;
  }

  static void add_services(const pb::FileDescriptor& file, const std::string& shown, std::vector<ProtoService>& out);

 private:
  class Collector;
  class BuildErrors;

  void problem(Problem problem) {
    if (problems_.size() < problems_max) problems_.push_back(std::move(problem));
  }
  void at_import(const File* importer, std::size_t begin, std::size_t end, std::string id, std::string message,
                 std::string fix) {
    Problem out{.id = std::move(id), .message = std::move(message), .fix = std::move(fix)};
    if (importer != nullptr) {
      out.file = importer->shown;
      out.text = importer->text;
      out.begin = begin;
      out.end = end;
    }
    problem(std::move(out));
  }

  /// The name by which the pool knows a file: as an import of it from the manifest's folder reads.
  [[nodiscard]] std::string name_of(const fs::path& path) const {
    const fs::path relative = path.lexically_relative(folder_);
    if (relative.empty() || *relative.begin() == "..") return path.filename().string();
    return relative.generic_string();
  }

  static std::optional<std::string> read(const fs::path& path, std::size_t bytes_max, bool& too_large) {
    std::error_code error;
    if (!fs::is_regular_file(path, error)) return std::nullopt;
    too_large = fs::file_size(path, error) > bytes_max;
    if (too_large || error) return std::nullopt;
    std::ifstream in(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(in), {}};
    if (!in) return std::nullopt;
    return text;
  }

  /// Its name, loaded with all that it imports. On an error its name all the same.
  std::string load(const fs::path& path, const File* importer, std::size_t begin, std::size_t end) {
    const std::string name = name_of(path);
    if (auto found = files_.find(name); found != files_.end()) return name;
    if (!room(importer, begin, end)) return name;
    bool too_large = false;
    auto text = read(path, limits_.file_bytes_max, too_large);
    if (!text) {
      Problem out{.id = too_large ? "S2075" : "S2072", .file = name};
      out.message = too_large ? fmt::format("it is larger than {} bytes", limits_.file_bytes_max) : "it can't be read";
      out.fix = too_large ? "split it" : "";
      problem(std::move(out));
      return name;
    }
    File& file = files_[name];
    file.name = name;
    file.shown = name == path.filename().string() && path.parent_path() != folder_ ? path.string() : name;
    file.folder = path.parent_path();
    file.text = std::make_shared<const std::string>(std::move(*text));
    parse(file);
    return name;
  }
  void load_known(const std::string& name, std::string_view text) {
    File& file = files_[name];
    file.name = name;
    file.shown = name;
    file.text = std::make_shared<const std::string>(text);
    parse(file);
  }
  bool room(const File* importer, std::size_t begin, std::size_t end) {
    if (files_.size() < limits_.files_max) return true;
    at_import(importer, begin, end, "S2075",
              fmt::format("more than {} .proto files, with their imports", limits_.files_max),
              "name fewer files, or put several into one");
    return false;
  }

  void parse(File& file);
  void resolve_imports(File& file);
  std::string find_import(const File& importer, const std::string& import, std::size_t begin, std::size_t end);
  void build();
  bool order(File& file, std::vector<const File*>& open);

  fs::path folder_;
  CompileLimits limits_;
  std::map<std::string, File, std::less<>> files_;  ///< Those being loaded too: a cycle ends.
  std::set<const File*> done_;
  std::vector<const File*> order_;  ///< Each after its imports.
  std::unique_ptr<pb::DescriptorPool> pool_;
  std::vector<Problem> problems_;
};

class Compiler::Collector final : public pb::io::ErrorCollector {
 public:
  Collector(Compiler& compiler, const File& file) : compiler_(compiler), file_(file) {}
  void AddError(int line, int column, const std::string& message) override {
    Problem out{.id = "S2072", .file = file_.shown, .text = file_.text, .message = sentence(message)};
    out.begin = line < 0 ? 0 : offset_of(*file_.text, line, column);
    out.end = token_end(*file_.text, out.begin);
    compiler_.problem(std::move(out));
  }

 private:
  Compiler& compiler_;
  const File& file_;
};

class Compiler::BuildErrors final : public pb::DescriptorPool::ErrorCollector {
 public:
  BuildErrors(Compiler& compiler, const File& file) : compiler_(compiler), file_(file) {}
  void AddError(const std::string&, const std::string& element, const pb::Message* descriptor, ErrorLocation location,
                const std::string& message) override {
    int line = -1;
    int column = 0;
    if (location == IMPORT) {
      if (!file_.locations.FindImport(descriptor, element, &line, &column)) line = -1;
    } else if (!file_.locations.Find(descriptor, location, &line, &column) &&
               !file_.locations.Find(descriptor, NAME, &line, &column)) {
      line = -1;
    }
    Problem out{.id = "S2072", .file = file_.shown, .text = file_.text, .message = sentence(message)};
    if (line < 0) out.message = fmt::format("{}: {}", element, out.message);
    out.begin = line < 0 ? 0 : offset_of(*file_.text, line, column);
    out.end = token_end(*file_.text, out.begin);
    suggest(out);
    compiler_.problem(std::move(out));
  }

 private:
  /// `"Itme" is not defined`: the types that are, and the nearest.
  void suggest(Problem& out) const {
    if (!out.message.ends_with("is not defined") || !out.message.starts_with('"')) return;
    const std::string wrong = out.message.substr(1, out.message.find('"', 1) - 1);
    std::vector<std::string> names;
    for (const auto& [name, file] : compiler_.files_) {
      for (const auto& message : file.proto.message_type()) names.push_back(message.name());
      for (const auto& enumeration : file.proto.enum_type()) names.push_back(enumeration.name());
    }
    const std::vector<std::string_view> views(names.begin(), names.end());
    if (const auto near = nearest(wrong, views)) out.fix = fmt::format("write {}", *near);
    if (wrong.starts_with("google.protobuf.")) out.fix = "import the file of google/protobuf that declares it";
  }
  Compiler& compiler_;
  const File& file_;
};

void Compiler::parse(File& file) {
  if (const auto deep = too_deep(*file.text, limits_.nesting_max)) {
    return problem({.id = "S2075",
                    .file = file.shown,
                    .text = file.text,
                    .begin = *deep,
                    .end = *deep + 1,
                    .message = fmt::format("it is nested deeper than {} levels here", limits_.nesting_max),
                    .fix = "take inner messages out"});
  }
  pb::io::ArrayInputStream stream(file.text->data(), static_cast<int>(file.text->size()));
  Collector collector(*this, file);
  pb::io::Tokenizer tokenizer(&stream, &collector);
  pb::compiler::Parser parser;
  parser.RecordErrorsTo(&collector);
  parser.RecordSourceLocationsTo(&file.locations);
  const std::size_t before = problems_.size();
  if (!parser.Parse(&tokenizer, &file.proto) || problems_.size() != before) {
    if (problems_.size() == before) problem({.id = "S2072", .file = file.shown, .message = "it is no .proto file"});
    return;
  }
  file.proto.set_name(file.name);
  resolve_imports(file);
}

void Compiler::resolve_imports(File& file) {
  for (int i = 0; i < file.proto.dependency_size(); ++i) {
    const std::string import = file.proto.dependency(i);
    int line = 0;
    int column = 0;
    std::size_t begin = 0;
    if (file.locations.FindImport(&file.proto, import, &line, &column)) begin = offset_of(*file.text, line, column);
    // The table's place is that of the file's name, or of the word before it.
    const std::size_t quote = file.text->find_first_of("\"'", begin);
    if (quote != std::string::npos) begin = quote;
    const std::size_t end = token_end(*file.text, begin);
    const std::string name = find_import(file, import, begin, end);
    if (!name.empty()) file.proto.set_dependency(i, name);
  }
}

std::string Compiler::find_import(const File& importer, const std::string& import, std::size_t begin, std::size_t end) {
  if (known_file(import) != nullptr) return import;
  const fs::path relative(import);
  const bool up = std::ranges::find(relative, "..") != relative.end();
  std::string looked;
  if (!relative.is_absolute() && !up && !importer.folder.empty()) {
    std::vector<fs::path> folders = {folder_};
    const bool below = name_of(importer.folder / "x") != "x" || importer.folder == folder_;
    for (fs::path folder = importer.folder; folder != folder_; folder = folder.parent_path()) {
      folders.push_back(folder);
      if (!below || folder == folder.parent_path()) break;
    }
    std::error_code error;
    for (const fs::path& folder : folders) {
      const fs::path path = (folder / relative).lexically_normal();
      if (fs::is_regular_file(path, error)) return load(path, &importer, begin, end);
      const std::string shown = folder.lexically_relative(folder_).generic_string();
      looked += (looked.empty() ? "" : ", ") + (shown == "." ? "the manifest's folder" : shown);
    }
  }
  if (const auto text = known_proto(import)) {
    if (!files_.contains(import) && room(&importer, begin, end)) load_known(import, *text);
    return import;
  }
  if (relative.is_absolute() || up) {
    at_import(&importer, begin, end, "S2073",
              fmt::format("an import is a path without .. and not absolute: \"{}\"", import),
              "write it relative to the manifest's folder");
  } else {
    at_import(&importer, begin, end, "S2073", fmt::format("import \"{}\" is not found", import),
              "correct the path, or put the file there");
    problems_.back().known = "looked in: " + looked;
  }
  return {};
}

/// Puts the file behind its imports. False: they go in a circle.
bool Compiler::order(File& file, std::vector<const File*>& open) {
  if (done_.contains(&file)) return true;
  if (std::ranges::find(open, &file) != open.end()) {
    std::string circle;
    for (const File* one : open) circle += one->name + " → ";
    problem({.id = "S2073",
             .file = open.back()->shown,
             .text = open.back()->text,
             .message = "the imports go in a circle: " + circle + file.name,
             .fix = "take what both need into a third file"});
    return false;
  }
  open.push_back(&file);
  for (const std::string& import : file.proto.dependency()) {
    if (auto found = files_.find(import); found != files_.end() && !order(found->second, open)) return false;
  }
  open.pop_back();
  done_.insert(&file);
  order_.push_back(&file);
  return true;
}

void Compiler::build() {
  for (auto& [name, file] : files_) {
    std::vector<const File*> open;
    if (!order(file, open)) return;
  }
  pool_ = std::make_unique<pb::DescriptorPool>(&known_files());
  for (const File* file : order_) {
    BuildErrors errors(*this, *file);
    if (pool_->BuildFileCollectingErrors(file->proto, &errors) == nullptr) return;
  }
}

void Compiler::add_services(const pb::FileDescriptor& file, const std::string& shown, std::vector<ProtoService>& out) {
  auto describe = [&](const auto& element, std::string& description, std::string& place) {
    pb::SourceLocation location;
    place = shown;
    if (!element.GetSourceLocation(&location)) return;
    description = comment(location.leading_comments);
    if (description.empty()) description = comment(location.trailing_comments);
    place = fmt::format("{}:{}", shown, location.start_line + 1);
  };
  for (int i = 0; i < file.service_count(); ++i) {
    const auto& from = *file.service(i);
    ProtoService service;
    service.name = from.full_name();
    describe(from, service.description, service.place);
    for (int m = 0; m < from.method_count(); ++m) {
      const auto& method = *from.method(m);
      ProtoMethod to;
      to.name = method.name();
      to.request = method.input_type()->full_name();
      to.response = method.output_type()->full_name();
      describe(method, to.description, to.place);
      const bool client = method.client_streaming();
      const bool server = method.server_streaming();
      to.stream = client ? (server ? call::StreamShape::both : call::StreamShape::client)
                         : (server ? call::StreamShape::server : call::StreamShape::unary);
      const auto level = method.options().idempotency_level();
      if (level == pb::MethodOptions::NO_SIDE_EFFECTS) to.effect = call::Effect::none;
      if (level == pb::MethodOptions::IDEMPOTENT) to.effect = call::Effect::idempotent;
      service.methods.push_back(std::move(to));
    }
    out.push_back(std::move(service));
  }
}

}  // namespace

std::expected<ProtoFiles, std::vector<Problem>> compile_proto(const fs::path& folder, std::span<const fs::path> files,
                                                              const CompileLimits& limits) {
  return Compiler(folder, limits).compile(files);
}

Result<ProtoFiles> read_descriptors(std::span<const std::string> descriptors) {
  SHUNT_TRY(const Pool pool, build_pool(descriptors));
  ProtoFiles out;
  out.descriptors.assign(descriptors.begin(), descriptors.end());
  for (const auto* file : pool.files) {
    Compiler::add_services(*file, file->name(), out.services);
    for (int i = 0; i < file->message_type_count(); ++i) out.messages.push_back(file->message_type(i)->full_name());
  }
  return out;
}

}  // namespace shunt::schema
