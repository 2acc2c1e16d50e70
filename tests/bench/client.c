/* The load side of the benchmark: one thread, one epoll, tens of thousands of connections to one server.
 *
 *     client PORT tcp|websocket|mqtt [--accounts] [--join K] [--resume] [--source N]
 *
 * Commands come on stdin (a pipe), one line each, and every one is answered by one line of JSON; between commands all
 * connections are held idle, but read, so that one set of connections serves many phases.
 *
 *     run [open=N] [window=W] [dial=R] [pace=R] [saturate=W] [joins=W] [visit_pace=R] [visits=W] [seconds=S] [limit=S]
 *         open      connect N more, at most `window` of them unfinished, at most `dial` a second
 *         pace      heartbeats a second, open loop, over the connections there were at the start of the command
 *         saturate  closed loop: `W` heartbeats outstanding at any time, over the same connections in turn
 *         joins     let the connections there are join conferences of ten, one after the other, `W` of them unanswered
 *         visit_pace  visits a second, open loop: join a conference of ten and leave it again, the connections in turn
 *         visits    closed loop: as many visits at any time; one that is refused is over
 *         seconds   how long; 0 = until all of `open` and `joins` are done, at most `limit` (60) seconds
 *     close [N]     close the N newest connections (all)
 *     reset         reset all connections; with --resume, those that are opened next resume their sessions
 *     stat          connections held, connections lost since the start
 *
 * A connection is open when it is welcomed: `welcome` after the hello (on WebSocket after a real upgrade), `joined` with
 * --join K (conference i/K), CONNACK on MQTT, where a PINGREQ stands for the heartbeat. Latency runs from the write of a
 * heartbeat to the read of its ack, in microseconds. Every command drains its outstanding acks before it answers, so
 * that the server's work for `acks` lies wholly between the command and its answer. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CAPACITY = 20000, EVENTS = 512, MASKS = 256, SAMPLES = 1 << 22, BUFFER = 65536, TOKEN = 96 };
enum { TCP, WEBSOCKET, MQTT };
enum { GONE, DIALING, UPGRADING, GREETING, JOINING, OPEN };

typedef struct {
    int fd, stage;
    uint64_t sent; /* when the outstanding heartbeat was written, 0 = none */
    uint64_t asked; /* when the outstanding join was written, 0 = none */
    int visiting;   /* it leaves again once it has joined */
    char *held;    /* the beginning of a message whose end has not come */
    size_t held_size;
} Connection;

typedef struct {
    char bytes[512];
    size_t size;
} Message;

static const char BEAT[] = "{\"type\":\"heartbeat\"}";
static const char MQTT_BEAT[] = "\xc0\x00";

static Connection connections[CAPACITY];
static int count, transport, accounts, per_conference, source = 1, poller;
static uint16_t port;
static Message beats[MASKS]; /* WebSocket heartbeats under different masking keys */
static int idle[CAPACITY + 1], idle_head, idle_tail, beaters; /* queue of connections that may beat next */
static long held, lost, opened, failed, pending, outstanding, acks, sent_beats, latencies, refused;
static long joining, joined, joiner; /* unanswered, answered, the connection that joins next */
static long visitors;                /* connections that join or leave */
static uint32_t *latency, *welcome_time, *join_time;
static uint64_t *dialed_at;
static char first_refusal[256];
static char (*tokens)[TOKEN]; /* with --resume: what continues the session of each connection */

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double busy_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fatal(const char *what) {
    perror(what);
    exit(1);
}

static void drop(Connection *c) {
    if (c->stage == GONE) return;
    if (c->stage == OPEN) held--;
    else pending--, failed++;
    if (c->sent) outstanding--, c->sent = 0;
    if (c->asked) joining--, c->asked = 0;
    if (c->visiting) visitors--, c->visiting = 0;
    free(c->held);
    c->held = NULL, c->held_size = 0, c->stage = GONE;
    close(c->fd);
}

/* Note the secret that `welcome` hands out; true when it continues a session that has joined already. */
static int welcomed(Connection *c, const char *text, size_t size) {
    static const char field[] = "\"resume\":\"";
    if (!tokens) return 0;
    char *token = tokens[c - connections], *from = memmem(text, size, field, sizeof field - 1);
    int resumed = token[0] != 0;
    if (!from) return resumed;
    from += sizeof field - 1;
    char *end = memchr(from, '"', size - (size_t)(from - text));
    if (end && end - from < TOKEN) memcpy(token, from, (size_t)(end - from)), token[end - from] = 0;
    return resumed;
}

/* The connection ended though nobody here asked for it. */
static void lose(Connection *c) {
    if (c->stage == OPEN) lost++;
    drop(c);
}

static void send_bytes(Connection *c, const char *bytes, size_t size) {
    if (send(c->fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size) lose(c);
}

static size_t frame(char *out, int opcode, const char *text, size_t size, const unsigned char mask[4]) {
    size_t n = 0;
    out[n++] = (char)(0x80 | opcode);
    if (size < 126) out[n++] = (char)(0x80 | size);
    else out[n++] = (char)(0x80 | 126), out[n++] = (char)(size >> 8), out[n++] = (char)size;
    memcpy(out + n, mask, 4), n += 4;
    for (size_t i = 0; i < size; i++) out[n++] = (char)(text[i] ^ mask[i % 4]);
    return n;
}

/* Send one message of the protocol: a line on TCP, a masked text frame on WebSocket. */
static void say(Connection *c, const char *format, ...) {
    char text[400], out[512];
    va_list arguments;
    va_start(arguments, format);
    size_t size = (size_t)vsnprintf(text, sizeof text - 1, format, arguments);
    va_end(arguments);
    if (transport == WEBSOCKET) {
        unsigned char mask[4] = {(unsigned char)random(), (unsigned char)random(), (unsigned char)random(), 0x5a};
        send_bytes(c, out, frame(out, 1, text, size, mask));
    } else {
        text[size++] = '\n';
        send_bytes(c, text, size);
    }
}

static void beat(Connection *c) {
    c->sent = now();
    outstanding++, sent_beats++;
    if (transport == WEBSOCKET) {
        const Message *m = &beats[sent_beats % MASKS];
        send_bytes(c, m->bytes, m->size);
    } else if (transport == MQTT) send_bytes(c, MQTT_BEAT, 2);
    else send_bytes(c, "{\"type\":\"heartbeat\"}\n", sizeof BEAT);
}

static void greet(Connection *c) {
    long i = c - connections;
    c->stage = GREETING;
    if (transport == MQTT) {
        char out[64] = "\x10\x00\x00\x04MQTT\x04\x02\x00\x00";
        int id = snprintf(out + 14, 32, "bench-%d-%ld", source, i);
        out[1] = (char)(12 + id), out[13] = (char)id;
        send_bytes(c, out, 14 + (size_t)id);
    } else if (tokens && tokens[i][0]) say(c, "{\"type\":\"hello\",\"protocol\":1,\"resume\":\"%s\"}", tokens[i]);
    else if (accounts)
        say(c, "{\"type\":\"hello\",\"protocol\":1,\"account\":\"user%ld@example.org\",\"device\":\"device-%ld\"}", i, i);
    else say(c, "{\"type\":\"hello\",\"protocol\":1}");
}

static void connected(Connection *c) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int fault = 0;
    socklen_t size = sizeof fault;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &fault, &size);
    if (fault) { lose(c); return; }
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
    if (transport != WEBSOCKET) { greet(c); return; }
    char request[300];
    int n = snprintf(request, sizeof request,
                     "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Protocol: tallygate.v1\r\n\r\n", port);
    c->stage = UPGRADING;
    send_bytes(c, request, (size_t)n);
}

static void dial(void) {
    Connection *c = &connections[count++];
    long i = c - connections;
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    int yes = 1;
    from.sin_addr.s_addr = htonl(0x7f000000u + (uint32_t)source * 256u + 2u + (uint32_t)(i % 4));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    dialed_at[i] = now();
    *c = (Connection){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), .stage = DIALING};
    if (c->fd < 0) fatal("socket");
    pending++;
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0) fatal("bind");
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) { drop(c); return; }
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event) < 0) fatal("epoll_ctl");
}

static void open_now(Connection *c) {
    c->stage = OPEN;
    pending--, held++;
    welcome_time[opened++] = (uint32_t)((now() - dialed_at[c - connections]) / 1000);
}

static void push_idle(Connection *c) {
    if (c - connections < beaters) idle[idle_tail] = (int)(c - connections), idle_tail = (idle_tail + 1) % (CAPACITY + 1);
}

static void acknowledged(Connection *c) {
    if (!c->sent) return;
    if (latencies < SAMPLES) latency[latencies++] = (uint32_t)((now() - c->sent) / 1000);
    c->sent = 0;
    outstanding--, acks++;
    push_idle(c);
}

static void visited(Connection *c) {
    if (c->asked) joining--, c->asked = 0;
    visitors--, c->visiting = 0;
    push_idle(c);
}

static int is(const char *text, size_t size, const char *type) {
    return memmem(text, size < 24 ? size : 24, type, strlen(type)) != NULL;
}

static void heard(Connection *c, const char *text, size_t size) {
    if (is(text, size, "\"ack\"")) acknowledged(c);
    else if (c->stage == GREETING && is(text, size, "\"welcome\"")) {
        if (welcomed(c, text, size) || !per_conference) { open_now(c); return; }
        c->stage = JOINING;
        say(c, "{\"type\":\"join\",\"conference\":\"c%ld\",\"access\":\"public\"}", (c - connections) / per_conference);
    } else if (c->stage == JOINING && is(text, size, "\"joined\"")) open_now(c);
    else if (c->asked && is(text, size, "\"joined\"")) {
        if (joined < SAMPLES) join_time[joined++] = (uint32_t)((now() - c->asked) / 1000);
        joining--, c->asked = 0;
        if (c->visiting) say(c, "{\"type\":\"leave\",\"conference\":\"j%ld\"}", (c - connections) / 10);
    } else if (c->visiting && is(text, size, "\"left\"")) visited(c);
    else {
        if (c->visiting) visited(c);
        if (!refused++) snprintf(first_refusal, sizeof first_refusal, "%.*s", (int)(size > 200 ? 200 : size), text);
        if (c->stage != OPEN) drop(c);
    }
}

static size_t take_lines(Connection *c, char *p, size_t n) {
    size_t done = 0;
    char *end;
    while (c->stage != GONE && (end = memchr(p + done, '\n', n - done))) {
        heard(c, p + done, (size_t)(end - p) - done);
        done = (size_t)(end - p) + 1;
    }
    return done;
}

static size_t take_frames(Connection *c, char *p, size_t n) {
    size_t done = 0;
    if (c->stage == UPGRADING) {
        char *end = memmem(p, n, "\r\n\r\n", 4);
        if (!end) return 0;
        if (strncmp(p, "HTTP/1.1 101", 12)) { heard(c, p, 60); return n; }
        greet(c);
        done = (size_t)(end - p) + 4;
    }
    while (c->stage != GONE && n - done >= 2) {
        unsigned char *f = (unsigned char *)p + done;
        size_t head = 2, size = f[1] & 0x7f;
        if (size == 126) {
            if (n - done < 4) break;
            head = 4, size = (size_t)f[2] << 8 | f[3];
        }
        if (n - done < head + size) break;
        done += head + size;
        if ((f[0] & 0x0f) == 9) {
            char out[160];
            send_bytes(c, out, frame(out, 10, (char *)f + head, size, (const unsigned char *)"mask"));
        } else if ((f[0] & 0x0f) == 8) lose(c);
        else heard(c, (char *)f + head, size);
    }
    return done;
}

static size_t take_packets(Connection *c, char *p, size_t n) {
    size_t done = 0;
    for (; c->stage != GONE && n - done >= 2 && n - done >= 2u + (unsigned char)p[done + 1]; done += 2u + (unsigned char)p[done + 1]) {
        if ((unsigned char)p[done] == 0xd0) acknowledged(c);
        else if ((unsigned char)p[done] == 0x20 && p[done + 3] == 0) open_now(c);
        else heard(c, "mqtt refused", 12);
    }
    return done;
}

static void readable(Connection *c) {
    static char buffer[BUFFER];
    size_t size = c->held_size, done;
    if (size) memcpy(buffer, c->held, size);
    ssize_t n = recv(c->fd, buffer + size, sizeof buffer - size, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) { lose(c); return; }
    size += (size_t)n;
    done = (transport == TCP ? take_lines : transport == WEBSOCKET ? take_frames : take_packets)(c, buffer, size);
    if (c->stage == GONE || (!c->held && done == size)) return;
    free(c->held);
    c->held = NULL, c->held_size = size - done;
    if (!c->held_size) return;
    if (!(c->held = malloc(c->held_size))) fatal("malloc");
    memcpy(c->held, buffer + done, c->held_size);
}

/* Serve what is ready, after waiting at most so long; true when a command waits on stdin. */
static int turn(int64_t wait) {
    struct epoll_event events[EVENTS];
    int commanded = 0;
    if (wait > 0) {
        struct pollfd both[2] = {{.fd = poller, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
        struct timespec t = {wait / 1000000000, wait % 1000000000};
        ppoll(both, 1, &t, NULL);
    } else if (wait < 0) {
        struct pollfd both[2] = {{.fd = poller, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
        poll(both, 2, -1);
        commanded = both[1].revents != 0;
    }
    int n = epoll_wait(poller, events, EVENTS, 0);
    for (int i = 0; i < n; i++) {
        Connection *c = events[i].data.ptr;
        if (c->stage == GONE) continue;
        if (c->stage == DIALING) connected(c);
        else readable(c);
    }
    return commanded;
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_quantiles(const char *name, uint32_t *values, long n) {
    qsort(values, (size_t)n, sizeof *values, by_size);
    printf("\"%sp50\":%u,\"%sp99\":%u,\"%smax\":%u,", name, n ? values[n / 2] : 0, name,
           n ? values[n * 99 / 100] : 0, name, n ? values[n - 1] : 0);
}

static Connection *next_idle(void) {
    while (idle_head != idle_tail) {
        Connection *c = &connections[idle[idle_head]];
        idle_head = (idle_head + 1) % (CAPACITY + 1);
        if (c->stage == OPEN && !c->sent) return c;
    }
    return NULL;
}

static void join_next(void) {
    Connection *c = &connections[joiner++];
    if (c->stage != OPEN) return;
    c->asked = now();
    joining++;
    say(c, "{\"type\":\"join\",\"conference\":\"j%ld\"}", (c - connections) / 10);
}

static int visit(void) {
    Connection *c = next_idle();
    if (!c) return 0;
    c->asked = now(), c->visiting = 1;
    joining++, visitors++;
    say(c, "{\"type\":\"join\",\"conference\":\"j%ld\"}", (c - connections) / 10);
    return 1;
}

static double option(const char *line, const char *name, double otherwise) {
    const char *at = strstr(line, name);
    return at ? atof(at + strlen(name)) : otherwise;
}

static void run(const char *line) {
    long want = (long)option(line, " open=", 0), window = (long)option(line, " window=", 64), dialed = 0, due = 0, skipped = 0;
    double dial_rate = option(line, " dial=", 0), pace = option(line, " pace=", 0), seconds = option(line, " seconds=", 0);
    double visit_pace = option(line, " visit_pace=", 0);
    long visits = (long)option(line, " visits=", 0), due_visits = 0;
    long saturate = (long)option(line, " saturate=", 0), joins = (long)option(line, " joins=", 0), chunk = pace > 0 ? 4 : 32;
    uint64_t start = now(), end = start + (uint64_t)((seconds > 0 ? seconds : option(line, " limit=", 60)) * 1e9);
    double cpu = busy_seconds(), open_seconds = 0;
    int base = count;
    if (want > CAPACITY - count) want = CAPACITY - count;
    double join_seconds = 0;
    joiner = joined = 0;
    opened = failed = acks = sent_beats = latencies = refused = 0;
    first_refusal[0] = 0, idle_head = idle_tail = 0, beaters = count;
    for (int i = 0; i < count; i++)
        if (connections[i].stage == OPEN) idle[idle_tail++] = i;
    for (;;) {
        uint64_t t = now();
        double passed = (double)(t - start) / 1e9;
        if (want && !open_seconds && opened + failed == want) open_seconds = passed;
        int asking = joins && (joiner < base || joining);
        if (joins && !asking && !join_seconds) join_seconds = passed;
        if (t >= end || (seconds <= 0 && opened + failed >= want && !asking)) break;
        while (joining < joins && joiner < base) join_next();
        for (long k = 0; k < chunk && dialed < want && pending < window; k++) {
            if (dial_rate > 0 && (double)dialed >= dial_rate * passed) break;
            dial(), dialed++;
        }
        for (; pace > 0 && (double)due < pace * passed; due++) {
            Connection *c = next_idle();
            if (c) beat(c);
            else skipped++;
        }
        for (; visit_pace > 0 && (double)due_visits < visit_pace * passed; due_visits++) skipped += !visit();
        while (visitors < visits && visit()) continue;
        while (outstanding < saturate) {
            Connection *c = next_idle();
            if (!c) break;
            beat(c);
        }
        int64_t rest = 1000000;
        if (pace > 0) rest = (int64_t)(((double)due / pace - passed) * 1e9);
        if (dialed < want && pending < window && dial_rate <= 0) rest = 0;
        turn(rest > 0 ? (rest < 1000000 ? rest : 1000000) : 0);
    }
    uint64_t stop = now();
    while ((outstanding || visitors) && now() < stop + 10000000000u) turn(1000000);
    for (int i = base; i < count; i++)
        if (connections[i].stage != OPEN) drop(&connections[i]);
    printf("{\"opened\":%ld,\"failed\":%ld,\"open_seconds\":%.6f,\"acks\":%ld,\"unanswered\":%ld,\"skipped\":%ld,\"lost\":%ld,",
           opened, failed, open_seconds ? open_seconds : (double)(stop - start) / 1e9, acks, sent_beats - acks, skipped, lost);
    print_quantiles("", latency, latencies);
    print_quantiles("welcome_", welcome_time, opened);
    for (char *p = first_refusal; *p; p++)
        if (*p == '"' || *p == '\\' || *p < ' ') *p = '\'';
    print_quantiles("join_", join_time, joined);
    printf("\"joined\":%ld,\"join_seconds\":%.6f,", joined, join_seconds);
    printf("\"seconds\":%.6f,\"cpu\":%.6f,\"held\":%ld,\"refused\":%ld,\"refusal\":\"%s\"}\n",
           (double)(now() - start) / 1e9, busy_seconds() - cpu, held, refused, first_refusal);
}

static void close_newest(long n) {
    for (long closed = 0; count && closed < n; count--) {
        closed += connections[count - 1].stage == OPEN;
        drop(&connections[count - 1]);
    }
}

static void reset_all(void) {
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    for (; count; count--) {
        Connection *c = &connections[count - 1];
        if (c->stage != GONE) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        drop(c);
    }
}

int main(int argc, char **argv) {
    char line[512];
    if (argc < 3) return fprintf(stderr, "usage: client PORT tcp|websocket|mqtt [--accounts] [--join K] [--resume] [--source N]\n"), 2;
    port = (uint16_t)atoi(argv[1]);
    transport = !strcmp(argv[2], "tcp") ? TCP : !strcmp(argv[2], "websocket") ? WEBSOCKET : MQTT;
    for (int i = 3; i < argc; i++) {
        if (!strcmp(argv[i], "--accounts")) accounts = 1;
        else if (!strcmp(argv[i], "--resume")) {
            if (!(tokens = calloc(CAPACITY, TOKEN))) fatal("calloc");
        } else if (!strcmp(argv[i], "--join") && i + 1 < argc) per_conference = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--source") && i + 1 < argc) source = atoi(argv[++i]);
    }
    for (int i = 0; i < MASKS; i++) {
        unsigned char mask[4] = {(unsigned char)random(), (unsigned char)random(), (unsigned char)random(), (unsigned char)i};
        beats[i].size = frame(beats[i].bytes, 1, BEAT, sizeof BEAT - 1, mask);
    }
    latency = malloc(SAMPLES * sizeof *latency);
    welcome_time = malloc(CAPACITY * sizeof *welcome_time);
    join_time = malloc(SAMPLES * sizeof *join_time);
    dialed_at = malloc(CAPACITY * sizeof *dialed_at);
    if (!latency || !welcome_time || !join_time || !dialed_at || (poller = epoll_create1(EPOLL_CLOEXEC)) < 0) fatal("start");
    setvbuf(stdin, NULL, _IONBF, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (;;) {
        if (!turn(-1)) continue;
        if (!fgets(line, sizeof line, stdin)) return 0;
        if (!strncmp(line, "run", 3)) run(line);
        else {
            if (!strncmp(line, "reset", 5)) reset_all();
            else if (!strncmp(line, "close", 5)) close_newest(line[5] == ' ' ? atol(line + 6) : CAPACITY);
            printf("{\"held\":%ld,\"lost\":%ld}\n", held, lost);
        }
    }
}
