#include "schema/proto_text.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <map>

namespace shunt::schema {

namespace pb = google::protobuf;

namespace {

/// The file of a derived service: shorter names than protobuf's own printing has, and the layout of a file that somebody
/// wrote. It holds one service and one message that holds all others.
class DerivedPrinter {
 public:
  explicit DerivedPrinter(const pb::FileDescriptorProto& file) : file_(file) {
    for (const auto& location : file.source_code_info().location()) {
      comments_[{location.path().begin(), location.path().end()}] = location.leading_comments();
    }
  }

  std::string print();

 private:
  using Path = std::vector<int>;

  void comment(const Path& path, std::string_view indent);
  void service(const pb::ServiceDescriptorProto& service);
  void message(const pb::DescriptorProto& message, const Path& path);
  void field(const pb::DescriptorProto& message, const pb::FieldDescriptorProto& field);
  [[nodiscard]] std::string type_of(const pb::DescriptorProto& message, const pb::FieldDescriptorProto& field) const;
  [[nodiscard]] std::string name_of(const std::string& full, bool in_container) const;
  template <typename... T>
  void line(fmt::format_string<T...> format, T&&... arguments) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<T>(arguments)...);
    out_ += '\n';
  }

  const pb::FileDescriptorProto& file_;
  std::map<Path, std::string> comments_;
  std::string out_;
};

void DerivedPrinter::comment(const Path& path, std::string_view indent) {
  const auto found = comments_.find(path);
  if (found == comments_.end()) return;
  std::string_view text = found->second;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    line("{}//{}", indent, text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

/// A type as it is written: without the scopes that it is looked up in anyway.
std::string DerivedPrinter::name_of(const std::string& full, bool in_container) const {
  const std::string scope = file_.package().empty() ? "." : "." + file_.package() + ".";
  const std::string container = file_.message_type_size() == 0 ? "" : file_.message_type(0).name() + ".";
  if (!container.empty() && full.starts_with(scope + container)) {
    std::string name = full.substr(scope.size() + container.size());
    // The entry of a map field could have that name nearer by.
    if (in_container && name.ends_with("Entry")) return full;
    return in_container ? name : container + name;
  }
  // A service or an app called google hides the package.
  const bool hidden = file_.service(0).name() == "google" || file_.package().starts_with("google");
  return hidden ? full : full.substr(1);
}

std::string DerivedPrinter::type_of(const pb::DescriptorProto& message, const pb::FieldDescriptorProto& field) const {
  using F = pb::FieldDescriptorProto;
  switch (field.type()) {
    case F::TYPE_BOOL:
      return "bool";
    case F::TYPE_INT64:
      return "int64";
    case F::TYPE_UINT64:
      return "uint64";
    case F::TYPE_DOUBLE:
      return "double";
    case F::TYPE_STRING:
      return "string";
    case F::TYPE_BYTES:
      return "bytes";
    default:
      break;
  }
  for (const auto& nested : message.nested_type()) {
    if (nested.options().map_entry() && field.type_name().ends_with("." + message.name() + "." + nested.name())) {
      return fmt::format("map<string, {}>", type_of(nested, nested.field(1)));
    }
  }
  return name_of(field.type_name(), true);
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\{:03o}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

void DerivedPrinter::field(const pb::DescriptorProto& message, const pb::FieldDescriptorProto& field) {
  const std::string type = type_of(message, field);
  std::string label;
  if (field.proto3_optional()) label = "optional ";
  if (field.label() == pb::FieldDescriptorProto::LABEL_REPEATED && !type.starts_with("map<")) label = "repeated ";
  const std::string options = field.has_json_name() ? fmt::format(" [json_name = {}]", quoted(field.json_name())) : "";
  line("    {}{} {} = {}{};", label, type, field.name(), field.number(), options);
}

void DerivedPrinter::message(const pb::DescriptorProto& message, const Path& path) {
  comment(path, "  ");
  if (message.field_size() == 0) return line("  message {} {{}}", message.name());
  line("  message {} {{", message.name());
  for (int i = 0; i < message.field_size(); ++i) {
    Path at = path;
    at.insert(at.end(), {2, i});
    comment(at, "    ");
    field(message, message.field(i));
  }
  line("  }}");
}

void DerivedPrinter::service(const pb::ServiceDescriptorProto& service) {
  comment({6, 0}, "");
  line("service {} {{", service.name());
  for (int i = 0; i < service.method_size(); ++i) {
    const pb::MethodDescriptorProto& method = service.method(i);
    comment({6, 0, 2, i}, "  ");
    const std::string head =
        fmt::format("  rpc {}({}{}) returns ({}{})", method.name(), method.client_streaming() ? "stream " : "",
                    name_of(method.input_type(), false), method.server_streaming() ? "stream " : "",
                    name_of(method.output_type(), false));
    if (!method.options().has_idempotency_level()) {
      line("{};", head);
      continue;
    }
    line("{} {{", head);
    line("    option idempotency_level = {};",
         pb::MethodOptions::IdempotencyLevel_Name(method.options().idempotency_level()));
    line("  }}");
  }
  line("}}");
}

std::string DerivedPrinter::print() {
  line(
      "// Derived by Shunt from the types of its commands. The numbers stay the same when commands and fields are "
      "added.");
  line("syntax = \"proto3\";\n");
  if (!file_.package().empty()) line("package {};\n", file_.package());
  for (const std::string& import : file_.dependency()) line("import \"{}\";", import);
  if (file_.dependency_size() != 0) out_ += '\n';
  service(file_.service(0));
  if (file_.message_type_size() == 0) return std::move(out_);
  out_ += '\n';
  const pb::DescriptorProto& container = file_.message_type(0);
  comment({4, 0}, "");
  line("message {} {{", container.name());
  for (int i = 0; i < container.nested_type_size(); ++i) {
    if (i != 0) out_ += '\n';
    message(container.nested_type(i), {4, 0, 3, i});
  }
  line("}}");
  return std::move(out_);
}

Result<pb::FileDescriptorProto> parse(const call::Contract::File& file) {
  pb::FileDescriptorProto proto;
  if (!proto.ParseFromString(file.descriptor)) {
    return fail(Code::internal, "S5021", fmt::format("the descriptor of {} can't be read", file.name));
  }
  return proto;
}

class Words final : public pb::DescriptorPool::ErrorCollector {
 public:
  void AddError(const std::string& file, const std::string& element, const pb::Message* /*descriptor*/,
                ErrorLocation /*where*/, const std::string& message) override {
    if (text.size() < 1000) text += fmt::format("{}{}: {}: {}", text.empty() ? "" : "; ", file, element, message);
  }
  std::string text;
};

}  // namespace

Result<std::vector<ProtoFile>> proto_text(const call::Contract& contract) {
  std::vector<ProtoFile> out;
  pb::DescriptorPool pool;
  for (const call::Contract::File& file : contract.files()) {
    SHUNT_TRY(const pb::FileDescriptorProto proto, parse(file));
    const bool comes_with_protoc = file.name.starts_with("google/protobuf/");
    if (contract.is_derived()) {
      if (!comes_with_protoc) out.push_back({file.name, DerivedPrinter(proto).print()});
      continue;
    }
    Words words;
    const pb::FileDescriptor* built = pool.BuildFileCollectingErrors(proto, &words);
    if (built == nullptr) {
      return fail(Code::internal, "S5021", fmt::format("the descriptors don't fit together: {}", words.text));
    }
    pb::DebugStringOptions options;
    options.include_comments = true;
    if (!comes_with_protoc) out.push_back({file.name, built->DebugStringWithOptions(options)});
  }
  return out;
}

std::string descriptor_set(const call::Contract& contract) {
  // repeated FileDescriptorProto file = 1, by hand: the files are serialized already.
  std::string out;
  for (const call::Contract::File& file : contract.files()) {
    out += '\x0a';
    std::size_t length = file.descriptor.size();
    for (; length >= 0x80; length >>= 7U) out += static_cast<char>(length | 0x80U);
    out += static_cast<char>(length);
    out += file.descriptor;
  }
  return out;
}

}  // namespace shunt::schema
