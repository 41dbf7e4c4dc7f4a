/* shunt.h: the stable C ABI of Shunt. Everything a language needs to serve commands and to call others stands on it.
 *
 * Two ways in, one set of calls:
 *   a module    a shared library that a node (or its worker process) loads. It exports shunt_module_main() and gets a
 *               table of functions; events come as calls of its on_event(), on the loop's thread.
 *   a worker    a process of its own that links libshunt: shunt_worker_open(), then shunt_worker_poll() in its own
 *               event loop. Nothing is ever called back on a foreign thread.
 *
 * Rules:
 *   - Structs carry their size: the reader looks at `size` before it reads a field that a newer version added.
 *   - Strings are UTF-8 slices without a terminating zero, and borrowed for the duration of the call unless told.
 *   - A shunt_call* is valid until shunt_api.release(). All functions are for the thread of the loop that the call
 *     belongs to, but for those marked "any thread".
 *   - The numbers of status codes are gRPC's.
 * Versions: the same major version always works together; a minor version only adds at the ends of structs.
 */
#ifndef SHUNT_SHUNT_H
#define SHUNT_SHUNT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHUNT_ABI_MAJOR 1
#define SHUNT_ABI_MINOR 1

#if defined(__GNUC__)
#define SHUNT_EXPORT __attribute__((visibility("default")))
#else
#define SHUNT_EXPORT
#endif

typedef struct shunt_slice {
  const char* data;
  size_t size;
} shunt_slice;

typedef struct shunt_pair {
  shunt_slice key;
  shunt_slice value;
} shunt_pair;

/* The type of a message that is passed inside one process without serialization. Static: lives as long as the module. */
typedef struct shunt_type {
  uint32_t size;        /* of this struct */
  uint32_t value_bytes; /* sizeof the value */
  /* Of names, fields, offsets, sizes, standard library and compiler: equal means the same layout. */
  uint64_t fingerprint[2];
  void (*destroy)(void* value);
  void* (*copy)(const void* value);
  /* Writes the value as JSON: calls append(to, data, size) one or more times. */
  void (*write)(const void* value, void (*append)(void* to, const char* data, size_t size), void* to);
  /* About how many bytes write() would give; cheap. */
  size_t (*weigh)(const void* value);
} shunt_type;

/* One message. Bytes when type is NULL, else a typed value.
 * Given to a function, it is taken over: the receiver calls release(owner) when it is done with the bytes, or
 * type->destroy(value). With release NULL the bytes are borrowed and copied at once.
 * Received in an event: see shunt_event.message. */
typedef struct shunt_message {
  const char* data;
  size_t size;
  void (*release)(void* owner);
  void* owner;
  const shunt_type* type;
  void* value;
} shunt_message;

typedef struct shunt_status {
  uint32_t size;
  uint32_t code;  /* 0 is ok */
  uint32_t retry; /* 0 no, 1 later, 2 reconnect, 3 elsewhere */
  shunt_slice id; /* "S1004", or empty */
  shunt_slice message;
  shunt_slice details; /* a JSON array, or empty */
} shunt_status;

typedef struct shunt_call shunt_call;       /* one end of a call */
typedef struct shunt_context shunt_context; /* where this code runs: a module on one loop, or a worker */

#define SHUNT_NO_DEADLINE INT64_MAX

/* How a call begins, both ways. */
typedef struct shunt_open {
  uint32_t size;
  uint32_t flags;      /* SHUNT_HAS_MESSAGE, SHUNT_LAST */
  shunt_slice target;  /* going out: "service.command"; coming in: the command */
  int64_t deadline_ns; /* CLOCK_MONOTONIC; SHUNT_NO_DEADLINE for none (going out: the caller's default) */
  const shunt_pair* metadata;
  size_t metadata_count;
  uint32_t principal_kind; /* coming in: 0 none, 1 service, 2 gateway, 3 operator, 4 node */
  uint32_t command;        /* coming in: index in shunt_module.commands; UINT32_MAX in a worker */
  shunt_slice principal_service;
  shunt_slice principal_user;
  shunt_slice token; /* opaque; hand it on by setting parent */
  /* Going out: the incoming call on whose behalf, or NULL. Its deadline bounds this one, its token and trace travel, its
   * cancellation cancels this one. */
  shunt_call* parent;
} shunt_open;

enum {
  SHUNT_HAS_MESSAGE = 1,
  SHUNT_LAST = 2,
  SHUNT_PROTO =
      4 /* in shunt_open.flags: messages are protobuf, both ways. The node turns them where the other end has JSON */
};

enum shunt_event_kind {
  SHUNT_EVENT_CALL = 1,       /* an incoming call begins: open, and message if SHUNT_HAS_MESSAGE */
  SHUNT_EVENT_MESSAGE = 2,    /* either end: a message */
  SHUNT_EVENT_HALF_CLOSE = 3, /* incoming: the caller sends no more */
  SHUNT_EVENT_CANCEL = 4,     /* incoming: reason; finish() is still owed, what is sent is thrown away */
  SHUNT_EVENT_CREDIT = 5,     /* either end: send() has room again after SHUNT_HELD */
  SHUNT_EVENT_END = 6,        /* outgoing: status and trailers; nothing comes after it; release() is owed. In a module,
                                 with SHUNT_HAS_MESSAGE, the last message comes in the same event */
  SHUNT_EVENT_METADATA = 7,   /* outgoing: initial metadata */
  SHUNT_EVENT_DRAIN = 8,      /* worker: no new calls will come; exit when the open ones have ended */
  SHUNT_EVENT_LOST = 9,       /* worker: the node and the supervisor are gone: exit */
};

enum shunt_cancel_reason {
  SHUNT_CANCEL_CALLER = 1,
  SHUNT_CANCEL_DEADLINE = 2,
  SHUNT_CANCEL_OVERLOAD = 3,
  SHUNT_CANCEL_SHUTDOWN = 4,
  SHUNT_CANCEL_PROTOCOL = 5,
};

typedef struct shunt_event {
  uint32_t size;
  uint32_t kind;
  uint32_t flags;  /* SHUNT_HAS_MESSAGE, SHUNT_LAST (this was the caller's last message) */
  uint32_t reason; /* CANCEL */
  shunt_call* call;
  void* user; /* what set_user() gave the call; NULL for SHUNT_EVENT_CALL */
  /* Module: given to the receiver: it takes the message by clearing `message->type` (typed) or by setting
   * `message->release` to NULL after keeping owner (bytes); what it leaves is freed after on_event returns.
   * Worker: valid until the next shunt_worker_poll(); taken the same way. */
  shunt_message* message;
  size_t cost; /* of the message: give it back with consume() when it is dealt with */
  const shunt_open* open;
  const shunt_status* status;
  const shunt_pair* metadata;
  size_t metadata_count;
} shunt_event;

enum shunt_sent {
  SHUNT_MORE = 0,  /* taken; send on */
  SHUNT_HELD = 1,  /* taken; wait for SHUNT_EVENT_CREDIT before the next */
  SHUNT_ENDED = 2, /* not taken (and freed): the call has ended, or CREDIT was not waited for */
};

/* ---- The direct way: unary calls between two modules on one loop -------------------------------------------------- */

/* Where one module's calls of one command go, with messages of these types: found once, checked at each call. */
typedef struct shunt_site shunt_site;

/* One call by a site. Values are handed over where they are: nothing is boxed, nothing is serialized. */
typedef struct shunt_unary {
  uint32_t size;
  uint32_t reserved;
  shunt_call* parent;  /* the incoming call on whose behalf, or NULL: as shunt_open.parent */
  int64_t deadline_ns; /* as shunt_open.deadline_ns */
  void* request; /* a value of the site's request type, which the callee may move from; NULL where there is none */
  size_t request_bytes; /* what request->weigh() says of it */
  void* response;       /* room for a value of the site's response type; NULL where there is none */
  shunt_call* call;     /* set when the answer is SHUNT_PENDING */
} shunt_unary;

enum shunt_unary_result {
  SHUNT_ELSEWHERE = 0, /* nothing has happened: call by open() */
  SHUNT_ANSWERED = 1,  /* a value stands in `response`; there is no call any more */
  SHUNT_PENDING =
      2, /* `call` is as open() would have made it; its end comes from inside the next set_user() or later */
};

/* The same call as its callee sees it. */
typedef struct shunt_direct {
  uint32_t size;
  uint32_t reserved;
  shunt_call* call; /* an incoming call, without metadata; ends by finish(), or by returning SHUNT_ANSWERED */
  int64_t deadline_ns;
  void* request;             /* may be moved from, until serve() returns; then its owner destroys what is left */
  void* response;            /* uninitialized room for the answer, until serve() returns */
  size_t response_bytes_max; /* an answer that weighs more must go by finish(), which refuses it */
} shunt_direct;

/* How a module serves one command directly. serve() returns SHUNT_ANSWERED when it has constructed a value in `response`:
 * then the call is over and its handle void. Else SHUNT_PENDING: finish() and release() are owed, or were called. Who
 * goes on after serve() calls set_user() before it returns; events come as for any incoming call. */
typedef struct shunt_direct_command {
  int (*serve)(void* command, void* self, shunt_direct* call);
  void* command;
} shunt_direct_command;

/* The functions of the house. */
typedef struct shunt_api {
  uint32_t size;
  uint16_t abi_major;
  uint16_t abi_minor;

  /* Opens a call to "service.command". Never NULL; where it can't be opened, SHUNT_EVENT_END follows. The first message,
   * if flags has SHUNT_HAS_MESSAGE, is taken over. `user` comes with every event. In a module events may come from inside
   * this function: a service on the same loop that answers at once. Don't act on the call before open() has returned. */
  shunt_call* (*open)(shunt_context* context, const shunt_open* open, shunt_message* first, void* user);
  void (*set_user)(shunt_call* call, void* user);
  /* shunt_sent. flags: SHUNT_LAST (outgoing only). Takes the message over in every case. */
  int (*send)(shunt_call* call, shunt_message* message, uint32_t flags);
  void (*half_close)(shunt_call* call); /* outgoing */
  void (*consume)(shunt_call* call, size_t cost);
  void (*send_metadata)(shunt_call* call, const shunt_pair* metadata, size_t count); /* incoming, before messages */
  /* Incoming: ends the call; with `last` (may be NULL) as its last message when the status is ok. Once. */
  void (*finish)(shunt_call* call, const shunt_status* status, shunt_message* last, const shunt_pair* trailers,
                 size_t trailer_count);
  void (*cancel)(shunt_call* call, uint32_t reason); /* outgoing: SHUNT_EVENT_END follows */
  /* Lets go of the end: cancels an outgoing call that has not ended, ends an incoming one as internal. No event after. */
  void (*release)(shunt_call* call);

  int64_t (*now)(void); /* CLOCK_MONOTONIC, ns; any thread */
  /* level: 0 debug, 1 info, 2 warning, 3 error. Any thread. Inside shunt_module_main() context is NULL. */
  void (*log)(shunt_context* context, int level, shunt_slice text);

  /* Modules only (NULL in a worker). */
  /* Runs fn(arg) on this loop: soon in this turn, not inside the caller's stack. */
  void (*defer)(shunt_context* context, void (*fn)(void* arg), void* arg);
  /* The same from any thread, in a later turn. */
  void (*post)(shunt_context* context, void (*fn)(void* arg), void* arg);
  /* Calls fn(arg) at deadline_ns. Returns a handle for timer_cancel, valid until it fires. */
  void* (*timer)(shunt_context* context, int64_t deadline_ns, void (*fn)(void* arg), void* arg);
  void (*timer_cancel)(shunt_context* context, void* timer);

  /* Since 1.1; modules only. The site of "service.command" for messages of these types (NULL: there is no message), as
   * long as the context. NULL where nothing is called directly: use open(). Ask once and keep it. */
  shunt_site* (*site)(shunt_context* context, shunt_slice target, const shunt_type* request,
                      const shunt_type* response);
  /* shunt_unary_result. */
  int (*unary)(shunt_site* site, shunt_unary* call);
  /* Who calls: fills in the principal, as long as the incoming call is not released. For a call that came by serve(). */
  void (*who)(shunt_call* call, shunt_open* open);
} shunt_api;

/* ---- Modules ------------------------------------------------------------------------------------------------------ */

typedef struct shunt_command {
  uint32_t size;
  shunt_slice name;
  const shunt_type* request;  /* NULL: bytes */
  const shunt_type* response; /* NULL: bytes */
} shunt_command;

typedef struct shunt_module {
  uint32_t size;
  uint16_t abi_major;
  uint16_t abi_minor;
  shunt_slice definition; /* the service as JSON: see docs/reference/describe.md */
  const shunt_command* commands;
  uint32_t command_count;
  void* self;
  /* Once for each loop that will deliver events, on that loop's thread, before the first. What it returns is given to
   * on_event and detach of that context as `self`; NULL: the module can't start, and said why by log(). May be NULL: then
   * `self` is what stands above. */
  void* (*attach)(void* self, shunt_context* context);
  /* When that loop ends, on its thread: every call of it has been released or is released here. May be NULL. */
  void (*detach)(void* self, shunt_context* context);
  void (*on_event)(void* self, shunt_context* context, const shunt_event* event);
  /* Since 1.1. Whether a command is unary and takes and gives exactly these types (NULL: no message): 1, and how it is
   * served; or 0. Any thread. May be NULL. */
  int (*find_direct)(void* self, uint32_t command, const shunt_type* request, const shunt_type* response,
                     shunt_direct_command* found);
} shunt_module;

/* What a module exports. The version stands beside it so that a host of another major version can say so before it
 * calls anything. */
/*   SHUNT_EXPORT extern const uint32_t shunt_module_abi;            (major << 16 | minor)                              */
/*   SHUNT_EXPORT const shunt_module* shunt_module_main(const shunt_api* api);   NULL on failure                        */
typedef const shunt_module* (*shunt_module_main_fn)(const shunt_api* api);

/* ---- Workers (libshunt) ------------------------------------------------------------------------------------------- */

typedef struct shunt_worker shunt_worker;

typedef struct shunt_worker_options {
  uint32_t size;
  uint32_t concurrency;   /* calls at once beyond which an OPEN is refused; 0: what the node said */
  shunt_slice sdk;        /* "python 0.1.0": for `shunt ps` and the logs */
  shunt_slice definition; /* the service as JSON, as in shunt_module */
} shunt_worker_options;

/* True when this process was started by a node as a worker (SHUNT_LINKS is set). Any thread. */
SHUNT_EXPORT int shunt_is_worker(void);
/* Takes the links that the node gave this process and says HELLO. NULL on failure, with the reason in *error (its slices
 * live until the next call of this function). Once in a process. */
SHUNT_EXPORT shunt_worker* shunt_worker_open(const shunt_worker_options* options, shunt_status* error);
SHUNT_EXPORT const shunt_api* shunt_worker_api(shunt_worker* worker);
SHUNT_EXPORT shunt_context* shunt_worker_context(shunt_worker* worker);
/* Readable when shunt_worker_poll(…, 0) would do something. Before sleeping on it: poll until there is no event, so that
 * what was sent is written (or call flush), and sleep no longer than shunt_worker_idle_ns(). */
SHUNT_EXPORT int shunt_worker_fd(shunt_worker* worker);
/* The full name of the service that this process is a worker of. Lives as long as the worker. */
SHUNT_EXPORT shunt_slice shunt_worker_service(shunt_worker* worker);
/* Reads, writes and fills up to `capacity` events; waits at most timeout_ns for the first (negative: as long as it
 * takes). Returns their number; 0 at the time-out, after shunt_worker_wake(), and sometimes earlier: after a signal, or
 * when what came gave no event. What has been sent since the last poll is written first.
 *
 * Events of one call come in their order. What they point at is valid until the next poll. A runtime that polls from
 * inside a handler, to wait there for an answer of its own, gets every event that comes meanwhile: it keeps those that
 * are not for that handler (with copies of what they point at; messages can be taken) and deals with them later, in
 * the order in which they came. */
SHUNT_EXPORT int shunt_worker_poll(shunt_worker* worker, shunt_event* events, int capacity, int64_t timeout_ns);
/* True when the call of an event was released or finished since the poll that gave it (by an event before it in the same
 * batch): skip it, and don't touch its `user`. Until the next poll. */
SHUNT_EXPORT int shunt_event_is_void(const shunt_event* event);
/* How long poll may be put off before a timer is due, in ns; negative: no timer. */
SHUNT_EXPORT int64_t shunt_worker_idle_ns(shunt_worker* worker);
/* Writes what has been sent, without waiting. */
SHUNT_EXPORT void shunt_worker_flush(shunt_worker* worker);
/* Makes a waiting poll return. Any thread. */
SHUNT_EXPORT void shunt_worker_wake(shunt_worker* worker);
/* Takes no new calls, as if the node had said so: SHUNT_EVENT_DRAIN follows. For a worker that wants to end by itself. */
SHUNT_EXPORT void shunt_worker_drain(shunt_worker* worker);
/* Closes all links, after what was sent has left (or a second has passed); open calls end as unavailable for their callers. Ends of calls
 * must not be used after it, released neither; messages that were taken live on. */
SHUNT_EXPORT void shunt_worker_close(shunt_worker* worker);

/* A program with a module inside: describes it when a node asks (SHUNT_DESCRIBE_FD), serves it when a node started this
 * process as a worker, and returns what main() should return. In C++: SHUNT_WORKER_MAIN() of <shunt/worker.h>. */
SHUNT_EXPORT int shunt_run_module(shunt_module_main_fn main, int argc, char** argv);

#ifdef __cplusplus
}
#endif

#endif
