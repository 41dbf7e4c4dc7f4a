// _shunt: libshunt as Python sees it. Python's stable ABI of 3.11, so one build serves every later version.
//
// Thin on purpose: a poll becomes a list of tuples, an end of a call becomes a Handle, and all thought is in
// shunt/_runtime.py. libshunt runs only while this thread holds the GIL; the GIL is let go for sleeping alone.
//
// Ownership: a Handle is kept alive by libshunt (its `user`) until it is released, so an event always finds it.

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <structmember.h>

#include <fcntl.h>
#include <poll.h>
#include <shunt/shunt.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

constexpr int events_max = 64;
/// Shorter messages are copied by libshunt: cheaper than handing over a reference.
constexpr Py_ssize_t copied_bytes_max = 4096;

/// The one worker of this process. Everything below is of the thread that opened it, but for the signal's parts.
struct State {
  shunt_worker* worker = nullptr;
  const shunt_api* api = nullptr;
  shunt_context* context = nullptr;
  Py_ssize_t calls = 0;  // Incoming calls that are not released.
  bool drain_asked = false;
  std::array<shunt_event, events_max> events;
  PyTypeObject* handle_type = nullptr;
  PyTypeObject* worker_type = nullptr;
};
State state;

// What SIGTERM does: a flag, and a byte that wakes whoever sleeps.
volatile sig_atomic_t terminate_asked = 0;
int signal_pipe[2] = {-1, -1};

std::string_view view(shunt_slice slice) {
  return slice.data == nullptr ? std::string_view() : std::string_view(slice.data, slice.size);
}

PyObject* to_text(std::string_view text) {
  return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
}

PyObject* to_bytes(std::string_view bytes) {
  return PyBytes_FromStringAndSize(bytes.data(), static_cast<Py_ssize_t>(bytes.size()));
}

/// A metadata's value: bytes where the key says so.
PyObject* to_value(std::string_view key, std::string_view value) {
  return key.ends_with("-bin") ? to_bytes(value) : to_text(value);
}

/// Puts `item` (stolen, may be NULL with an error set) into the tuple. False on error.
bool set_item(PyObject* tuple, Py_ssize_t index, PyObject* item) {
  return item != nullptr && PyTuple_SetItem(tuple, index, item) == 0;
}

template <typename... Items>
PyObject* make_tuple(Items... items) {
  PyObject* tuple = PyTuple_New(sizeof...(Items));
  bool good = tuple != nullptr;
  Py_ssize_t index = 0;
  // Each item is ours to give away, whether or not those before it were good.
  auto put = [&](PyObject* item) {
    if (good) {
      good = set_item(tuple, index++, item);
    } else {
      Py_XDECREF(item);
    }
  };
  (put(items), ...);
  if (good) return tuple;
  Py_XDECREF(tuple);
  return nullptr;
}

PyObject* to_pairs(const shunt_pair* pairs, size_t count) {
  PyObject* out = PyTuple_New(static_cast<Py_ssize_t>(count));
  if (out == nullptr) return nullptr;
  for (size_t i = 0; i < count; i++) {
    auto key = view(pairs[i].key);
    if (!set_item(out, static_cast<Py_ssize_t>(i), make_tuple(to_text(key), to_value(key, view(pairs[i].value))))) {
      Py_DECREF(out);
      return nullptr;
    }
  }
  return out;
}

/// Metadata as a handler gives it: a sequence of (str, str or bytes). Borrows from the objects.
struct Pairs {
  std::vector<shunt_pair> pairs;
  PyObject* sequence = nullptr;
  std::vector<PyObject*> kept;

  ~Pairs() {
    for (auto* object : kept) Py_DECREF(object);
    Py_XDECREF(sequence);
  }

  static bool text(PyObject* object, shunt_slice& out) {
    if (PyBytes_Check(object)) {
      char* data = nullptr;
      Py_ssize_t size = 0;
      if (PyBytes_AsStringAndSize(object, &data, &size) < 0) return false;
      out = {data, static_cast<size_t>(size)};
      return true;
    }
    Py_ssize_t size = 0;
    const char* data = PyUnicode_Check(object) ? PyUnicode_AsUTF8AndSize(object, &size) : nullptr;
    if (data == nullptr) {
      if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "metadata must be pairs of str and str (or bytes)");
      return false;
    }
    out = {data, static_cast<size_t>(size)};
    return true;
  }

  bool read(PyObject* from) {
    if (from == nullptr || from == Py_None) return true;
    sequence = PySequence_Tuple(from);
    if (sequence == nullptr) return false;
    Py_ssize_t count = PyTuple_Size(sequence);
    for (Py_ssize_t i = 0; i < count; i++) {
      PyObject* pair = PySequence_Tuple(PyTuple_GetItem(sequence, i));
      if (pair == nullptr) return false;
      kept.push_back(pair);
      shunt_pair read{};
      if (PyTuple_Size(pair) != 2) {
        PyErr_SetString(PyExc_TypeError, "metadata must be pairs of str and str (or bytes)");
        return false;
      }
      if (!text(PyTuple_GetItem(pair, 0), read.key) || !text(PyTuple_GetItem(pair, 1), read.value)) return false;
      pairs.push_back(read);
    }
    return true;
  }
};

void release_bytes(void* owner) { Py_DECREF(static_cast<PyObject*>(owner)); }

/// A message of a bytes object: short ones are copied, of long ones a reference is handed over.
bool to_message(PyObject* bytes, shunt_message& message) {
  char* data = nullptr;
  Py_ssize_t size = 0;
  if (PyBytes_AsStringAndSize(bytes, &data, &size) < 0) return false;
  message = {};
  message.data = data;
  message.size = static_cast<size_t>(size);
  if (size > copied_bytes_max) {
    Py_INCREF(bytes);
    message.release = release_bytes;
    message.owner = bytes;
  }
  return true;
}

// ---- Handle ----------------------------------------------------------------------------------------------------------

/// One end of a call.
struct Handle {
  PyObject_HEAD shunt_call* call;  // nullptr: released.
  PyObject* owner;                 // Who gets its events.
  char* opening;                   // Incoming: principal and metadata, packed; most handlers never ask.
  int64_t deadline_ns;
  uint32_t cancelled;
  bool incoming;
};

Handle* as_handle(PyObject* object) { return reinterpret_cast<Handle*>(object); }

/// The call, while it may be used.
shunt_call* live(Handle* handle) { return state.worker == nullptr ? nullptr : handle->call; }

Handle* new_handle(bool incoming) {
  Handle* handle = PyObject_New(Handle, state.handle_type);
  if (handle == nullptr) return nullptr;
  handle->call = nullptr;
  handle->owner = nullptr;
  handle->opening = nullptr;
  handle->deadline_ns = SHUNT_NO_DEADLINE;
  handle->cancelled = 0;
  handle->incoming = incoming;
  return handle;
}

void handle_dealloc(PyObject* self) {
  Handle* handle = as_handle(self);
  PyTypeObject* type = Py_TYPE(self);
  Py_XDECREF(handle->owner);
  free(handle->opening);
  PyObject_Free(self);
  Py_DECREF(type);
}

void release(Handle* handle) {
  shunt_call* call = live(handle);
  if (call == nullptr) return;
  handle->call = nullptr;
  if (handle->incoming) state.calls--;
  state.api->release(call);
  PyObject* owner = std::exchange(handle->owner, nullptr);
  Py_DECREF(reinterpret_cast<PyObject*>(handle));  // libshunt's reference; the caller has one
  Py_XDECREF(owner);
}

struct Packed {
  uint32_t kind;
  uint32_t service_size;
  uint32_t user_size;
  uint32_t count;
};

/// Copies of an opening what the next poll would overwrite.
bool pack_opening(Handle* handle, const shunt_open& open) {
  size_t size = sizeof(Packed) + open.principal_service.size + open.principal_user.size;
  for (size_t i = 0; i < open.metadata_count; i++) {
    size += 2 * sizeof(uint32_t) + open.metadata[i].key.size + open.metadata[i].value.size;
  }
  char* out = static_cast<char*>(malloc(size));
  if (out == nullptr) {
    PyErr_NoMemory();
    return false;
  }
  handle->opening = out;
  Packed head{open.principal_kind, static_cast<uint32_t>(open.principal_service.size),
              static_cast<uint32_t>(open.principal_user.size), static_cast<uint32_t>(open.metadata_count)};
  auto put = [&out](const void* data, size_t bytes) {
    if (bytes > 0) memcpy(out, data, bytes);
    out += bytes;
  };
  put(&head, sizeof head);
  put(open.principal_service.data, open.principal_service.size);
  put(open.principal_user.data, open.principal_user.size);
  for (size_t i = 0; i < open.metadata_count; i++) {
    const shunt_pair& pair = open.metadata[i];
    uint32_t sizes[2] = {static_cast<uint32_t>(pair.key.size), static_cast<uint32_t>(pair.value.size)};
    put(sizes, sizeof sizes);
    put(pair.key.data, pair.key.size);
    put(pair.value.data, pair.value.size);
  }
  return true;
}

PyObject* handle_metadata(PyObject* self, PyObject*) {
  const char* from = as_handle(self)->opening;
  if (from == nullptr) return PyTuple_New(0);
  Packed head;
  memcpy(&head, from, sizeof head);
  from += sizeof head + head.service_size + head.user_size;
  PyObject* out = PyTuple_New(head.count);
  if (out == nullptr) return nullptr;
  for (uint32_t i = 0; i < head.count; i++) {
    uint32_t sizes[2];
    memcpy(sizes, from, sizeof sizes);
    from += sizeof sizes;
    std::string_view key(from, sizes[0]);
    std::string_view value(from + sizes[0], sizes[1]);
    from += sizes[0] + sizes[1];
    if (!set_item(out, i, make_tuple(to_text(key), to_value(key, value)))) {
      Py_DECREF(out);
      return nullptr;
    }
  }
  return out;
}

PyObject* handle_principal(PyObject* self, PyObject*) {
  const char* from = as_handle(self)->opening;
  if (from == nullptr) return make_tuple(PyLong_FromLong(0), to_text(""), to_text(""));
  Packed head;
  memcpy(&head, from, sizeof head);
  from += sizeof head;
  return make_tuple(PyLong_FromUnsignedLong(head.kind), to_text({from, head.service_size}),
                    to_text({from + head.service_size, head.user_size}));
}

PyObject* handle_send(PyObject* self, PyObject* bytes) {
  shunt_message message;
  if (!to_message(bytes, message)) return nullptr;
  shunt_call* call = live(as_handle(self));
  if (call == nullptr) {
    if (message.release != nullptr) message.release(message.owner);
    return PyLong_FromLong(SHUNT_ENDED);
  }
  return PyLong_FromLong(state.api->send(call, &message, 0));
}

PyObject* handle_half_close(PyObject* self, PyObject*) {
  if (shunt_call* call = live(as_handle(self))) state.api->half_close(call);
  Py_RETURN_NONE;
}

PyObject* handle_consume(PyObject* self, PyObject* cost) {
  size_t bytes = PyLong_AsSize_t(cost);
  if (bytes == static_cast<size_t>(-1) && PyErr_Occurred()) return nullptr;
  shunt_call* call = live(as_handle(self));
  if (call != nullptr && bytes > 0) state.api->consume(call, bytes);
  Py_RETURN_NONE;
}

PyObject* handle_send_metadata(PyObject* self, PyObject* given) {
  Pairs pairs;
  if (!pairs.read(given)) return nullptr;
  if (shunt_call* call = live(as_handle(self))) state.api->send_metadata(call, pairs.pairs.data(), pairs.pairs.size());
  Py_RETURN_NONE;
}

/// answer(data, trailers=None): ends the call well, with its last message.
PyObject* handle_answer(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  if (count < 1 || count > 2) {
    PyErr_SetString(PyExc_TypeError, "answer(data, trailers=None)");
    return nullptr;
  }
  Pairs trailers;
  if (count == 2 && !trailers.read(arguments[1])) return nullptr;
  shunt_message message;
  if (!to_message(arguments[0], message)) return nullptr;
  shunt_call* call = live(as_handle(self));
  if (call == nullptr) {
    if (message.release != nullptr) message.release(message.owner);
    Py_RETURN_NONE;
  }
  state.api->finish(call, nullptr, &message, trailers.pairs.data(), trailers.pairs.size());
  release(as_handle(self));
  Py_RETURN_NONE;
}

/// end(trailers=None): ends the call well, with no further message.
PyObject* handle_end(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  Pairs trailers;
  if (count >= 1 && !trailers.read(arguments[0])) return nullptr;
  if (shunt_call* call = live(as_handle(self))) {
    state.api->finish(call, nullptr, nullptr, trailers.pairs.data(), trailers.pairs.size());
    release(as_handle(self));
  }
  Py_RETURN_NONE;
}

/// A str as UTF-8; lone surrogates, which exceptions' texts may hold, become question marks.
bool utf8(PyObject* object, PyObject*& owner, shunt_slice& out) {
  owner = PyUnicode_AsEncodedString(object, "utf-8", "replace");
  if (owner == nullptr) return false;
  out = {PyBytes_AsString(owner), static_cast<size_t>(PyBytes_Size(owner))};
  return true;
}

/// fail(code, message, id, details, retry, trailers=None): ends the call with a status.
PyObject* handle_fail(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  if (count < 5 || count > 6) {
    PyErr_SetString(PyExc_TypeError, "fail(code, message, id, details, retry, trailers=None)");
    return nullptr;
  }
  Pairs trailers;
  if (count == 6 && !trailers.read(arguments[5])) return nullptr;
  shunt_status status{};
  status.size = sizeof status;
  status.code = static_cast<uint32_t>(PyLong_AsUnsignedLong(arguments[0]));
  status.retry = static_cast<uint32_t>(PyLong_AsUnsignedLong(arguments[4]));
  if (PyErr_Occurred()) return nullptr;
  PyObject* kept[3] = {};
  bool good = utf8(arguments[1], kept[0], status.message) && utf8(arguments[2], kept[1], status.id) &&
              utf8(arguments[3], kept[2], status.details);
  if (good) {
    if (shunt_call* call = live(as_handle(self))) {
      state.api->finish(call, &status, nullptr, trailers.pairs.data(), trailers.pairs.size());
      release(as_handle(self));
    }
  }
  for (auto* object : kept) Py_XDECREF(object);
  if (!good) return nullptr;
  Py_RETURN_NONE;
}

PyObject* handle_cancel(PyObject* self, PyObject* reason) {
  auto number = static_cast<uint32_t>(PyLong_AsUnsignedLong(reason));
  if (PyErr_Occurred()) return nullptr;
  if (shunt_call* call = live(as_handle(self))) state.api->cancel(call, number);
  Py_RETURN_NONE;
}

PyObject* handle_release(PyObject* self, PyObject*) {
  release(as_handle(self));
  Py_RETURN_NONE;
}

/// The reason of a cancellation, 0 without one. A deadline that has passed is one, whether or not it was polled yet.
PyObject* handle_cancelled(PyObject* self, void*) {
  Handle* handle = as_handle(self);
  if (handle->cancelled == 0 && handle->incoming && handle->deadline_ns != SHUNT_NO_DEADLINE && state.api != nullptr &&
      state.api->now() >= handle->deadline_ns) {
    handle->cancelled = SHUNT_CANCEL_DEADLINE;
  }
  return PyLong_FromUnsignedLong(handle->cancelled);
}

PyObject* handle_deadline(PyObject* self, void*) {
  int64_t deadline = as_handle(self)->deadline_ns;
  if (deadline == SHUNT_NO_DEADLINE) Py_RETURN_NONE;
  return PyLong_FromLongLong(deadline);
}

PyObject* handle_is_open(PyObject* self, void*) { return PyBool_FromLong(live(as_handle(self)) != nullptr); }

template <typename Function>
PyCFunction method(Function function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef handle_methods[] = {
    {"metadata", handle_metadata, METH_NOARGS, nullptr},
    {"principal", handle_principal, METH_NOARGS, nullptr},
    {"send", handle_send, METH_O, nullptr},
    {"half_close", handle_half_close, METH_NOARGS, nullptr},
    {"consume", handle_consume, METH_O, nullptr},
    {"send_metadata", handle_send_metadata, METH_O, nullptr},
    {"answer", method(handle_answer), METH_FASTCALL, nullptr},
    {"end", method(handle_end), METH_FASTCALL, nullptr},
    {"fail", method(handle_fail), METH_FASTCALL, nullptr},
    {"cancel", handle_cancel, METH_O, nullptr},
    {"release", handle_release, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef handle_members[] = {
    {"owner", T_OBJECT, offsetof(Handle, owner), 0, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyGetSetDef handle_getters[] = {
    {"cancelled", handle_cancelled, nullptr, nullptr, nullptr},
    {"deadline_ns", handle_deadline, nullptr, nullptr, nullptr},
    {"is_open", handle_is_open, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot handle_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(handle_dealloc)},
    {Py_tp_methods, handle_methods},
    {Py_tp_members, handle_members},
    {Py_tp_getset, handle_getters},
    {0, nullptr},
};

PyType_Spec handle_spec = {
    "_shunt.Handle", sizeof(Handle), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, handle_slots,
};

// ---- Worker ----------------------------------------------------------------------------------------------------------

/// Calls that began in the batch at hand: libshunt filled in their later events before they had a `user`.
using NewCalls = std::vector<std::pair<shunt_call*, Handle*>>;

PyObject* reference(Handle* handle) {
  Py_INCREF(reinterpret_cast<PyObject*>(handle));
  return reinterpret_cast<PyObject*>(handle);
}

PyObject* number(uint64_t value) { return PyLong_FromUnsignedLongLong(value); }

PyObject* message_bytes(const shunt_event& event) {
  if (event.message == nullptr || (event.flags & SHUNT_HAS_MESSAGE) == 0) Py_RETURN_NONE;
  return to_bytes({event.message->data, event.message->size});
}

PyObject* begin_call(const shunt_event& event, NewCalls& new_calls) {
  Handle* handle = new_handle(true);
  if (handle == nullptr) return nullptr;
  handle->call = event.call;
  handle->deadline_ns = event.open->deadline_ns;
  state.calls++;
  state.api->set_user(event.call, reference(handle));
  new_calls.emplace_back(event.call, handle);
  if (!pack_opening(handle, *event.open)) {
    Py_DECREF(reinterpret_cast<PyObject*>(handle));
    return nullptr;
  }
  PyObject* data = message_bytes(event);
  if (event.cost > 0) state.api->consume(event.call, event.cost);
  return make_tuple(number(event.kind), reinterpret_cast<PyObject*>(handle), to_text(view(event.open->target)), data,
                    number(event.flags));
}

PyObject* to_event(const shunt_event& event, NewCalls& new_calls) {
  if (event.kind == SHUNT_EVENT_CALL) return begin_call(event, new_calls);
  if (event.call == nullptr) {
    Py_INCREF(Py_None);
    return make_tuple(number(event.kind), Py_None);
  }
  Handle* handle = static_cast<Handle*>(event.user);
  for (auto& [call, known] : new_calls) {
    if (handle == nullptr && call == event.call) handle = known;
  }
  if (handle == nullptr || handle->call == nullptr) {
    Py_INCREF(Py_None);
    return make_tuple(number(0), Py_None);  // of a call that is over
  }
  switch (event.kind) {
    case SHUNT_EVENT_MESSAGE:
      return make_tuple(number(event.kind), reference(handle), message_bytes(event), number(event.cost),
                        number(event.flags));
    case SHUNT_EVENT_CANCEL:
      handle->cancelled = event.reason == 0 ? static_cast<uint32_t>(SHUNT_CANCEL_CALLER) : event.reason;
      return make_tuple(number(event.kind), reference(handle), number(event.reason));
    case SHUNT_EVENT_END:
      return make_tuple(number(event.kind), reference(handle), number(event.status->code),
                        to_text(view(event.status->id)), to_text(view(event.status->message)),
                        to_text(view(event.status->details)), number(event.status->retry),
                        to_pairs(event.metadata, event.metadata_count));
    case SHUNT_EVENT_METADATA:
      return make_tuple(number(event.kind), reference(handle), to_pairs(event.metadata, event.metadata_count));
    default:  // half close, credit, and what a later version may bring
      return make_tuple(number(event.kind), reference(handle));
  }
}

bool check_worker() {
  if (state.worker != nullptr) return true;
  PyErr_SetString(PyExc_RuntimeError, "the worker is closed");
  return false;
}

/// Sleeps without the GIL until there is something to poll, a signal, or the time.
bool sleep(int64_t timeout_ns) {
  int64_t idle = shunt_worker_idle_ns(state.worker);
  if (idle >= 0 && (timeout_ns < 0 || idle < timeout_ns)) timeout_ns = idle;
  int milliseconds = -1;
  // Rounded up: what is due must be due when we wake.
  if (timeout_ns >= 0)
    milliseconds =
        static_cast<int>((timeout_ns / 1'000'000 > 1'000'000'000 ? 1'000'000'000 : (timeout_ns + 999'999) / 1'000'000));
  pollfd waits[2] = {{shunt_worker_fd(state.worker), POLLIN, 0}, {signal_pipe[0], POLLIN, 0}};
  Py_BEGIN_ALLOW_THREADS;
  ::poll(waits, signal_pipe[0] >= 0 ? 2 : 1, milliseconds);
  Py_END_ALLOW_THREADS;
  return PyErr_CheckSignals() == 0;
}

void obey_signal() {
  if (terminate_asked == 0) return;
  terminate_asked = 0;
  char bytes[64];
  while (read(signal_pipe[0], bytes, sizeof bytes) > 0) {
  }
  if (!std::exchange(state.drain_asked, true)) shunt_worker_drain(state.worker);
}

/// poll(timeout_ns): the events that have come, as tuples; it may come back with none before the time.
PyObject* worker_poll(PyObject*, PyObject* timeout) {
  long long timeout_ns = PyLong_AsLongLong(timeout);
  if (timeout_ns == -1 && PyErr_Occurred()) return nullptr;
  if (!check_worker()) return nullptr;
  obey_signal();
  int count = shunt_worker_poll(state.worker, state.events.data(), events_max, 0);
  if (count == 0 && timeout_ns != 0) {
    if (!sleep(timeout_ns)) return nullptr;
    if (!check_worker()) return nullptr;  // a signal's handler may close it
    obey_signal();
    count = shunt_worker_poll(state.worker, state.events.data(), events_max, 0);
  }
  PyObject* list = PyList_New(count);
  if (list == nullptr) return nullptr;
  NewCalls new_calls;
  for (int i = 0; i < count; i++) {
    PyObject* event = to_event(state.events[i], new_calls);
    if (event == nullptr || PyList_SetItem(list, i, event) < 0) {
      Py_DECREF(list);
      return nullptr;
    }
  }
  return list;
}

PyObject* worker_fd(PyObject*, PyObject*) {
  return check_worker() ? PyLong_FromLong(shunt_worker_fd(state.worker)) : nullptr;
}

PyObject* worker_signal_fd(PyObject*, PyObject*) { return PyLong_FromLong(signal_pipe[0]); }

PyObject* worker_idle(PyObject*, PyObject*) {
  return check_worker() ? PyLong_FromLongLong(shunt_worker_idle_ns(state.worker)) : nullptr;
}

PyObject* worker_flush(PyObject*, PyObject*) {
  if (state.worker != nullptr) shunt_worker_flush(state.worker);
  Py_RETURN_NONE;
}

PyObject* worker_close(PyObject*, PyObject*) {
  if (shunt_worker* worker = std::exchange(state.worker, nullptr)) shunt_worker_close(worker);
  Py_RETURN_NONE;
}

PyObject* worker_now(PyObject*, PyObject*) { return PyLong_FromLongLong(state.api->now()); }

PyObject* worker_log(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 2) {
    PyErr_SetString(PyExc_TypeError, "log(level, text)");
    return nullptr;
  }
  long level = PyLong_AsLong(arguments[0]);
  if (level == -1 && PyErr_Occurred()) return nullptr;
  PyObject* kept = nullptr;
  shunt_slice text{};
  if (!utf8(arguments[1], kept, text)) return nullptr;
  if (state.worker != nullptr) state.api->log(state.context, static_cast<int>(level), text);
  Py_DECREF(kept);
  Py_RETURN_NONE;
}

/// open(target, data or None, last, deadline_ns or None, metadata or None, parent or None): a call to another service.
PyObject* worker_open(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 6) {
    PyErr_SetString(PyExc_TypeError, "open(target, data, last, deadline_ns, metadata, parent)");
    return nullptr;
  }
  if (!check_worker()) return nullptr;
  shunt_open open{};
  open.size = sizeof open;
  Py_ssize_t size = 0;
  const char* target = PyUnicode_AsUTF8AndSize(arguments[0], &size);
  if (target == nullptr) return nullptr;
  open.target = {target, static_cast<size_t>(size)};
  int last = PyObject_IsTrue(arguments[2]);
  if (last < 0) return nullptr;
  open.deadline_ns = SHUNT_NO_DEADLINE;
  if (arguments[3] != Py_None) {
    open.deadline_ns = PyLong_AsLongLong(arguments[3]);
    if (open.deadline_ns == -1 && PyErr_Occurred()) return nullptr;
  }
  Pairs metadata;
  if (!metadata.read(arguments[4])) return nullptr;
  open.metadata = metadata.pairs.data();
  open.metadata_count = metadata.pairs.size();
  if (arguments[5] != Py_None) {
    if (Py_TYPE(arguments[5]) != state.handle_type) {
      PyErr_SetString(PyExc_TypeError, "parent must be a Handle");
      return nullptr;
    }
    open.parent = live(as_handle(arguments[5]));  // a call that is over is nobody's parent
  }
  shunt_message message{};
  if (arguments[1] != Py_None) {
    if (!to_message(arguments[1], message)) return nullptr;
    open.flags |= SHUNT_HAS_MESSAGE;
  }
  if (last != 0) open.flags |= SHUNT_LAST;
  Handle* handle = new_handle(false);
  if (handle == nullptr) {
    if (message.release != nullptr) message.release(message.owner);
    return nullptr;
  }
  handle->call = state.api->open(state.context, &open, arguments[1] != Py_None ? &message : nullptr, reference(handle));
  return reinterpret_cast<PyObject*>(handle);
}

PyObject* worker_calls(PyObject*, void*) { return PyLong_FromSsize_t(state.calls); }

PyObject* worker_service(PyObject*, void*) {
  return check_worker() ? to_text(view(shunt_worker_service(state.worker))) : nullptr;
}

void worker_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_Free(self);
  Py_DECREF(type);
}

PyMethodDef worker_methods[] = {
    {"poll", worker_poll, METH_O, nullptr},
    {"fd", worker_fd, METH_NOARGS, nullptr},
    {"signal_fd", worker_signal_fd, METH_NOARGS, nullptr},
    {"idle_ns", worker_idle, METH_NOARGS, nullptr},
    {"flush", worker_flush, METH_NOARGS, nullptr},
    {"close", worker_close, METH_NOARGS, nullptr},
    {"now", worker_now, METH_NOARGS, nullptr},
    {"log", method(worker_log), METH_FASTCALL, nullptr},
    {"open", method(worker_open), METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef worker_getters[] = {
    {"calls", worker_calls, nullptr, nullptr, nullptr},
    {"service", worker_service, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot worker_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(worker_dealloc)},
    {Py_tp_methods, worker_methods},
    {Py_tp_getset, worker_getters},
    {0, nullptr},
};

PyType_Spec worker_spec = {
    "_shunt.Worker", sizeof(PyObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, worker_slots,
};

// ---- Module ----------------------------------------------------------------------------------------------------------

/// open_worker(sdk, definition, concurrency). Once in a process. Raises RuntimeError with the reason.
PyObject* open_worker(PyObject*, PyObject* arguments) {
  const char* sdk = nullptr;
  const char* definition = nullptr;
  Py_ssize_t sdk_size = 0;
  Py_ssize_t definition_size = 0;
  unsigned int concurrency = 0;
  if (!PyArg_ParseTuple(arguments, "s#y#I", &sdk, &sdk_size, &definition, &definition_size, &concurrency)) {
    return nullptr;
  }
  if (state.worker != nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "a process is one worker, and this one has begun already");
    return nullptr;
  }
  shunt_worker_options options{};
  options.size = sizeof options;
  options.concurrency = concurrency;
  options.sdk = {sdk, static_cast<size_t>(sdk_size)};
  options.definition = {definition, static_cast<size_t>(definition_size)};
  shunt_status error{};
  state.worker = shunt_worker_open(&options, &error);
  if (state.worker == nullptr) {
    std::string text(view(error.id));
    if (!text.empty()) text += ": ";
    text += view(error.message);
    PyErr_SetString(PyExc_RuntimeError, text.c_str());
    return nullptr;
  }
  state.api = shunt_worker_api(state.worker);
  state.context = shunt_worker_context(state.worker);
  return reinterpret_cast<PyObject*>(PyObject_New(PyObject, state.worker_type));
}

void on_terminate(int) {
  int error = errno;
  terminate_asked = 1;
  char byte = 1;
  [[maybe_unused]] auto written = write(signal_pipe[1], &byte, 1);
  errno = error;
}

/// catch_terminate(): from now on SIGTERM drains the worker, as if the node had said so.
PyObject* catch_terminate(PyObject*, PyObject*) {
  if (signal_pipe[0] < 0 && pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
    return PyErr_SetFromErrno(PyExc_OSError);
  }
  struct sigaction action{};
  action.sa_handler = on_terminate;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGTERM, &action, nullptr) < 0) return PyErr_SetFromErrno(PyExc_OSError);
  Py_RETURN_NONE;
}

PyMethodDef module_methods[] = {
    {"open_worker", open_worker, METH_VARARGS, nullptr},
    {"catch_terminate", catch_terminate, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    "_shunt",
    "libshunt, for shunt/_runtime.py only.",
    -1,
    module_methods,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
};

}  // namespace

PyMODINIT_FUNC PyInit__shunt(void) {  // NOLINT(bugprone-reserved-identifier): the name that CPython looks for
  state.handle_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&handle_spec));
  state.worker_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&worker_spec));
  if (state.handle_type == nullptr || state.worker_type == nullptr) return nullptr;
  return PyModule_Create(&module);
}
