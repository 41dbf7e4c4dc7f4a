/* echo.c: the smallest worker in C. A call's first message is its answer, whatever the command's name.
 *
 *   cc -std=c99 echo.c -lshunt -o echo */
#include <shunt/shunt.h>
#include <stdio.h>
#include <string.h>

struct echo {
  const shunt_api* api;
  int open_calls;
  int draining; /* No new calls come: end with the last open one. */
  int lost;     /* Nobody is there any more: end now. */
};

static shunt_slice text(const char* from) {
  shunt_slice slice;
  slice.data = from;
  slice.size = strlen(from);
  return slice;
}

/* An incoming call ends here in every case: with its answer, or with what went wrong. */
static void end_call(struct echo* echo, const shunt_event* event, const shunt_status* status) {
  /* finish() takes the message over as it came: no copy. */
  echo->api->finish(event->call, status, status == NULL ? event->message : NULL, NULL, 0);
  echo->api->release(event->call);
  echo->open_calls--;
}

static void on_event(struct echo* echo, const shunt_event* event) {
  shunt_status status;
  memset(&status, 0, sizeof status);
  status.size = sizeof status;

  switch (event->kind) {
    case SHUNT_EVENT_CALL:
      echo->open_calls++;
      if (event->flags & SHUNT_HAS_MESSAGE) end_call(echo, event, NULL);
      break;
    case SHUNT_EVENT_MESSAGE:
      end_call(echo, event, NULL);
      break;
    case SHUNT_EVENT_HALF_CLOSE:
      status.code = 3; /* invalid_argument */
      status.message = text("echo needs a message");
      end_call(echo, event, &status);
      break;
    case SHUNT_EVENT_CANCEL:
      status.code = 1; /* cancelled */
      end_call(echo, event, &status);
      break;
    case SHUNT_EVENT_DRAIN:
      echo->draining = 1;
      break;
    case SHUNT_EVENT_LOST:
      echo->lost = 1;
      break;
    default: /* What a later version may bring. */
      break;
  }
}

int main(void) {
  shunt_worker_options options;
  shunt_status error;
  shunt_worker* worker;
  shunt_event events[32];
  struct echo echo;

  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.sdk = text("c 0.1.0");
  options.definition = text("{\"commands\": {\"echo\": {\"description\": \"Answers what it was sent.\"}}}");
  worker = shunt_worker_open(&options, &error);
  if (worker == NULL) {
    fprintf(stderr, "echo: %.*s\n", (int)error.message.size, error.message.data);
    return 1;
  }
  memset(&echo, 0, sizeof echo);
  echo.api = shunt_worker_api(worker);

  while (!echo.lost && !(echo.draining && echo.open_calls == 0)) {
    int count = shunt_worker_poll(worker, events, 32, -1);
    int i;
    for (i = 0; i < count; i++) {
      if (!shunt_event_is_void(&events[i])) on_event(&echo, &events[i]);
    }
  }
  shunt_worker_close(worker);
  return 0;
}
