/* config/config_schema.c — the table itself; see config_schema.h. SECURITY.md has the reasons for
 * the limits. */
#include "config/config_schema.h"

#define AT(member) .offset = offsetof(struct config, member)
#define IN(type, member) .offset = offsetof(struct type, member)
#define BETWEEN(low, high) .min = (low), .max = (high)
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const char *const algorithm_names[] = { "HS256", "HS384", "HS512", "RS256", "RS384",
                                               "RS512", "ES256", "ES384", "ES512", NULL };
static const char *const level_names[] = { "debug", "info", "warn", "error", NULL };
static const char *const expiry_names[] = { "close", "allow", NULL };
static const char *const routes_names[] = { "file", "redis", NULL };
static const char *const sessions_names[] = { "auto", "required", "optional", NULL };

static const char *const unix_mode_names[] = { "umask", "0600", "0660", "0666", NULL };
const unsigned config_unix_modes[] = { 0, 0600, 0660, 0666 };

static const struct schema_key listener_keys[] = {
    { "address", VALUE_ADDRESS, IN(config_listener, address),
      .words = "`HOST:PORT`, `:PORT` (every address), `[v6]:PORT` or `unix:/path`. Required." },
    { "tls", VALUE_BOOL, IN(config_listener, tls), "false",
      .words = "TLS with the certificates of `tls`; in clear the port takes HTTP/1.1 and HTTP/2 "
               "with prior knowledge." },
    { "mode", VALUE_CHOICE, IN(config_listener, unix_mode), "umask", .choices = unix_mode_names,
      .words = "Of the path of a Unix socket: who may connect." },
    { "proxy_protocol", VALUE_BOOL, IN(config_listener, proxy_protocol), "false",
      .words = "Every connection must begin with a PROXY header (v1 or v2)." },
    { "proxy_protocol_from", VALUE_NETWORKS, IN(config_listener, proxy_protocol_from),
      .words = "Peers whose PROXY header is believed; connections from elsewhere are closed." },
};
static const struct schema_list listener_list = { listener_keys, COUNT_OF(listener_keys),
                                                  sizeof(struct config_listener) };

static const struct schema_key certificate_keys[] = {
    { "certificate", VALUE_FILE, IN(config_certificate, certificate_file),
      .words = "PEM chain. Required." },
    { "key", VALUE_FILE, IN(config_certificate, key_file), .words = "PEM private key. Required." },
};
static const struct schema_list certificate_list = { certificate_keys, COUNT_OF(certificate_keys),
                                                     sizeof(struct config_certificate) };

static const struct schema_key key_keys[] = {
    { "kid", VALUE_TEXT, IN(config_key, kid),
      .words = "`[A-Za-z0-9_-]{1,64}`: the token's header names it. Required." },
    { "alg", VALUE_CHOICE, IN(config_key, algorithm), .choices = algorithm_names,
      .words = "The one algorithm this key is used with. Required." },
    { "file", VALUE_FILE, IN(config_key, file),
      .words =
          "HS*: the secret; RS*, ES*: a PEM public key, private key or certificate. Required." },
};
static const struct schema_list key_list = { key_keys, COUNT_OF(key_keys),
                                             sizeof(struct config_key) };

const struct schema_key config_schema[] = {
    /* process */
    { "workers", VALUE_AUTO, AT(workers), "auto", BETWEEN(1, 256),
      .words = "Worker threads; `auto`: one per CPU." },
    { "io_uring", VALUE_BOOL, AT(io_uring), "true",
      .words = "Small reads and writes of a turn are gathered into few system calls where the "
               "kernel has io_uring and lets us; `false`: one by one everywhere." },
    { "drain_timeout", VALUE_DURATION, AT(drain_ms), "10m",
      .words = "How long open streams may live on after SIGTERM; a second SIGTERM ends at once." },
    { "drain_delay", VALUE_DURATION, AT(drain_delay_ms), "0s", .max = 600000,
      .words =
          "How long everything is still served after SIGTERM has turned readiness false: as long "
          "as the balancer needs to notice. Not part of `drain_timeout`." },
    { "drain_spread", VALUE_DURATION, AT(drain_spread_ms), "30s",
      .words = "Idle connections are told to go one by one, evenly over this time, or half of "
               "`drain_timeout` if that is less; 20 a second and worker in any case." },
    { "upgrade_timeout", VALUE_DURATION, AT(upgrade_ms), "60s", BETWEEN(1000, 3600000),
      .words =
          "SIGUSR2: how long the new program may take until it serves; then it is ended, and the "
          "old one goes on." },
    { "watchdog", VALUE_DURATION, AT(watchdog_ms), "5s", .max = 3600000,
      .words = "A worker whose loop stands still for so long ends the process with a backtrace; "
               "`0s`: off." },
    { "listeners", VALUE_LIST, AT(listeners),
      .count_offset = offsetof(struct config, listener_count), .element = &listener_list,
      .words = "Ports that the gateway serves. At least one." },
    { "log.level", VALUE_CHOICE, AT(log_level), "info", .choices = level_names,
      .words = "Lifecycle and error lines on standard error." },
    { "log.access", VALUE_TEXT, AT(access_log), "stdout",
      .words =
          "One JSON line per request: `stdout`, `stderr`, `off` or a file (reopened on SIGUSR1)." },

    /* TLS */
    { "tls.certificates", VALUE_LIST, AT(certificates),
      .count_offset = offsetof(struct config, certificate_count), .element = &certificate_list,
      .words = "The first is the default; the others are chosen by SNI (exact, then `*.x`)." },
    { "tls.ticket_keys", VALUE_FILE, AT(ticket_key_file),
      .words = "Session ticket keys (80 or 48 bytes each; the first encrypts, all decrypt). "
               "Absent: random, shared by the workers. Each TLS 1.3 handshake, a resumed one too, "
               "gives one ticket." },
    { "tls.handshake_timeout", VALUE_DURATION, AT(handshake_ms), "10s", BETWEEN(100, 600000),
      .words = "Then the connection closes." },
    { "tls.messages", VALUE_U32, AT(tls_messages), "100", BETWEEN(10, 1000000),
      .words = "KeyUpdates and other handshake messages in a second after the handshake, of "
               "clients and agents; above: the connection closes." },

    /* exec host */
    { "exec.hosts", VALUE_TEXTS, AT(exec_hosts),
      .words = "Host names of the exec host; `*` takes every host that nothing else takes." },
    { "exec.cors_origins", VALUE_TEXTS, AT(cors_origins), "*",
      .words = "Origins whose pages may call the exec host." },
    { "exec.plain_json_bytes", VALUE_BYTES, AT(proxy.plain_json_bytes), "4MiB",
      BETWEEN(1024, 1u << 30),
      .words = "Plain-JSON form: longest request body, and longest answer as one document." },
    { "exec.plain_wait", VALUE_DURATION, AT(proxy.plain_wait_ms), "10s",
      .words = "Plain-JSON form as one document: how long to wait for the process to end when the "
               "request has no `wait_ms`." },
    { "exec.plain_wait_max", VALUE_DURATION, AT(proxy.plain_wait_max_ms), "10m",
      .words = "Longest `wait_ms` that is honoured." },

    /* tokens */
    { "auth.issuer", VALUE_TEXT, AT(token.issuer), .words = "The `iss` of every token. Required." },
    { "auth.exec_audience", VALUE_TEXT, AT(token.exec_audience), "exec",
      .words = "The `aud` of connect tokens." },
    { "auth.access_audience", VALUE_TEXT, AT(token.access_audience), "access",
      .words = "The `aud` of access-session tokens." },
    { "auth.keys", VALUE_LIST, AT(keys), .count_offset = offsetof(struct config, key_count),
      .element = &key_list,
      .words = "Keys of the control plane; several at once for rotation. At least one." },
    { "auth.leeway", VALUE_DURATION, AT(token.leeway_ms), "30s", .max = 300000,
      .words = "Clock difference allowed for `exp`, `nbf`, `iat`." },
    { "auth.token_bytes", VALUE_BYTES, AT(token.token_bytes), "8KiB", BETWEEN(256, 65536),
      .words = "Longest token; above: 401." },
    { "auth.cache_entries", VALUE_SIZE, AT(token.cache_entries), "65536", BETWEEN(1, 1u << 24),
      .words = "Verified tokens remembered per worker." },
    { "auth.on_expiry", VALUE_CHOICE, AT(on_expiry), "close", .choices = expiry_names,
      .words =
          "What happens to an open stream when its token's `exp` passes, by the wall clock: also "
          "when that is set." },
    { "auth.sessions", VALUE_CHOICE, AT(sessions), "auto", .choices = sessions_names,
      .words = "`required`: a token whose `session:{sid}` record is absent is refused; `optional`: "
               "only `revoked` refuses; `auto`: required "
               "with Redis, optional with a routes file." },

    /* routes */
    { "routes.source", VALUE_CHOICE, AT(routes), "file", .choices = routes_names,
      .words = "Where records come from." },
    { "routes.file", VALUE_FILE, AT(routes_file),
      .words = "The routes file (source `file`); watched for change." },
    { "routes.redis.url", VALUE_TEXT, AT(redis_url),
      .words = "`redis://[user[:password]@]host[:port][/db]`, `rediss://…` (TLS) or "
               "`unix://[user:password@]/path[?db=N]`." },
    { "routes.redis.password_file", VALUE_FILE, AT(redis_password_file),
      .words = "Password for AUTH, in place of one in the URL." },
    { "routes.redis.ca", VALUE_FILE, AT(redis_ca_file),
      .words = "CA for `rediss://`; absent: the system's." },
    { "routes.redis.sentinels", VALUE_TEXTS, AT(redis_sentinels),
      .words =
          "`host[:port]` of each Sentinel (port 26379 by default); the host of the URL is then "
          "the name of the master that they watch." },
    { "routes.redis.sentinel_password_file", VALUE_FILE, AT(redis_sentinel_password_file),
      .words = "Password for AUTH at the sentinels; absent: none." },
    { "routes.redis.prefix", VALUE_TEXT, AT(redis.prefix), "", .words = "Put before every key." },
    { "routes.redis.connect_timeout", VALUE_DURATION, AT(redis.connect_timeout_ms), "3s",
      BETWEEN(50, 60000), .words = "TLS and AUTH included." },
    { "routes.redis.reply_timeout", VALUE_DURATION, AT(redis.reply_timeout_ms), "1s",
      BETWEEN(50, 60000), .words = "Then that connection is dropped." },
    { "routes.redis.retry_min", VALUE_DURATION, AT(redis.retry_min_ms), "100ms", BETWEEN(10, 60000),
      .words = "First wait before reconnecting (with jitter)." },
    { "routes.redis.retry_max", VALUE_DURATION, AT(redis.retry_max_ms), "1500ms",
      BETWEEN(10, 60000), .words = "Longest wait before reconnecting." },
    { "routes.redis.reply_bytes", VALUE_BYTES, AT(redis.reply_bytes), "1MiB",
      BETWEEN(1024, 1u << 30), .words = "Longest reply; above: that connection is dropped." },
    { "routes.redis.reply_elements", VALUE_SIZE, AT(redis.reply_elements), "65536",
      BETWEEN(16, 1u << 24), .words = "Most elements of a reply." },
    { "routes.max_entries", VALUE_SIZE, AT(resolver.max_entries), "131072", BETWEEN(16, 1u << 26),
      .words = "Records remembered per worker." },
    { "routes.found_ttl", VALUE_DURATION, AT(resolver.found_ms), "30s", .min = 1,
      .words = "A record is read again after this even when nothing was pushed." },
    { "routes.missing_ttl", VALUE_DURATION, AT(resolver.missing_ms), "2s",
      .words = "How long \"no such record\" is remembered." },
    { "routes.max_stale", VALUE_DURATION, AT(resolver.max_stale_ms), "10m",
      .words = "How long known records keep serving while Redis is away." },
    { "routes.lookup_timeout", VALUE_DURATION, AT(resolver.lookup_ms), "2s", .min = 10,
      .words = "Longest wait of a request for its route; then `unavailable`." },

    /* wake */
    { "wake.enabled", VALUE_BOOL, AT(proxy.wake.is_enabled), "false",
      .words = "A request for a computer that does not run asks for it in the stream `wake`, and "
               "waits. Needs `routes.source: redis`." },
    { "wake.timeout", VALUE_DURATION, AT(proxy.wake.timeout_ms), "30s", BETWEEN(100, 600000),
      .words = "How long a request waits for its computer; then 503 with `Retry-After`." },
    { "wake.repeat", VALUE_DURATION, AT(proxy.wake.repeat_ms), "30s", BETWEEN(1000, 3600000),
      .words = "All gateways together ask for one computer once in this time." },
    { "wake.pending", VALUE_SIZE, AT(proxy.wake.pending), "64", .min = 1,
      .words = "Requests that may wait for one computer, per worker; above: 503 at once." },
    { "wake.pending_total", VALUE_SIZE, AT(proxy.wake.pending_total), "1024", .min = 1,
      .words = "Requests that may wait for any, per worker." },
    { "wake.stream_length", VALUE_SIZE, AT(proxy.wake.stream_length), "10000",
      BETWEEN(10, 1u << 30), .words = "The stream `wake` is trimmed to about so many entries." },

    /* upstream */
    { "upstream.allow", VALUE_NETWORKS, AT(upstream_allow),
      "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7",
      .words = "Networks that agents may live in. Loopback, link-local and metadata addresses must "
               "be listed by a network inside their block." },
    { "upstream.h2_connections", VALUE_SIZE, AT(upstream.h2_conns), "2", BETWEEN(1, 64),
      .words = "HTTP/2 connections per agent and worker." },
    { "upstream.h1_connections", VALUE_SIZE, AT(upstream.h1_conns), "256", BETWEEN(1, 65536),
      .words = "HTTP/1.1 connections per agent and worker." },
    { "upstream.pending", VALUE_SIZE, AT(upstream.pending), "1024", .max = 1u << 20,
      .words = "Requests that may wait for a connection, per agent and worker. No lower than a "
               "burst that meets a cold gateway." },
    { "upstream.pending_timeout", VALUE_DURATION, AT(upstream.pending_ms), "3s", .min = 1,
      .words = "How long they may wait." },
    { "upstream.connect_timeout", VALUE_DURATION, AT(upstream.connect_ms), "3s", .min = 10,
      .words = "Connect, TLS and HTTP/2 preface." },
    { "upstream.idle_timeout", VALUE_DURATION, AT(upstream.idle_ms), "60s", .min = 100,
      .words = "A connection without a stream closes." },
    { "upstream.backoff_failures", VALUE_U32, AT(upstream.backoff_failures), "5", BETWEEN(1, 1000),
      .words = "Failures in a row before an agent is left alone." },
    { "upstream.backoff_min", VALUE_DURATION, AT(upstream.backoff_min_ms), "1s", .min = 10,
      .words = "First such pause; it doubles." },
    { "upstream.backoff_max", VALUE_DURATION, AT(upstream.backoff_max_ms), "30s", .min = 10,
      .words = "Longest such pause." },
    { "upstream.tls.ca", VALUE_FILE, AT(agent_ca_file),
      .words = "CA of agents with `tls: on` or `mutual`; absent: the system's." },
    { "upstream.tls.certificate", VALUE_FILE, AT(agent_certificate_file),
      .words = "Our client certificate for `tls: mutual`." },
    { "upstream.tls.key", VALUE_FILE, AT(agent_key_file), .words = "Its key." },

    /* published ports, and the admin listener */
    { "ports.domain", VALUE_TEXTS, AT(ports_domains),
      .words =
          "Domain of published ports, `<label>--<handle>.<domain>`, or a list of several. Needed "
          "to publish one through the admin API, which takes the first unless `domain` names "
          "another." },
    { "ports.reserved_handles", VALUE_TEXTS, AT(ports_reserved), "exec, api, www, admin",
      .words = "Names under `ports.domain` that belong to services and never to a computer." },
    { "ports.login_url", VALUE_TEXT, AT(ports_login_url),
      .words = "Where a navigation without access is sent, with `error=auth_required` (or "
               "`machine_unauthorized`) and `return_to=`; absent: a page." },
    { "ports.insecure_cookies", VALUE_BOOL, AT(proxy.ports.insecure_cookies), "false",
      .words = "Clients in clear get the access cookie without `Secure`, which browsers otherwise "
               "drop everywhere but on localhost. For development." },
    { "admin.address", VALUE_ADDRESS, AT(admin_address),
      .words = "Where the admin listener is: `unix:/path` (made with mode 0600) or a loopback "
               "`HOST:PORT`. Absent: there is none." },
    { "admin.secret_file", VALUE_FILE, AT(admin_secret_file),
      .words = "Bearer secret (16 characters or more) of the admin listener; required over TCP." },
    { "admin.signing_key", VALUE_TEXT, AT(admin_signing_kid),
      .words = "`kid` of the key in `auth.keys` that signs the tokens of sessions made through the "
               "admin API; its file must be a secret or a private key." },
    { "admin.connect_url", VALUE_TEXT, AT(admin_connect_url),
      .words = "`connect_url` of such sessions; absent: `https://` and the first exec host." },

    /* limits */
    { "limits.connections", VALUE_AUTO, AT(max_conns), "auto", BETWEEN(1, 1u << 24),
      .words = "Client connections per process; `auto`: half of the descriptor limit." },
    { "limits.connections_per_address", VALUE_SIZE, AT(conns_per_address), "1024", .min = 1,
      .words = "Connections of one client address (IPv6: one /64) in the process; above: closed." },
    { "limits.memory", VALUE_BYTES, AT(memory_bytes), "0",
      .words = "Resident memory that 80 %, 90 % and 95 % are measured against (docs/operations.md, "
               "Memory); `0`: the limit of the cgroup, if it has one." },
    { "limits.requests_per_session", VALUE_SIZE, AT(proxy.requests_per_session), "256", .min = 1,
      .words = "In flight at once, per worker; above: 429." },
    { "limits.requests_per_computer", VALUE_SIZE, AT(proxy.requests_per_computer), "1024", .min = 1,
      .words = "In flight at once, per worker; above: 429." },
    { "limits.trusted_proxies", VALUE_NETWORKS, AT(trusted_proxies),
      .words = "Peers whose `X-Forwarded-*` counts." },
    { "limits.proxy_header_timeout", VALUE_DURATION, AT(proxy_header_ms), "5s", BETWEEN(10, 600000),
      .words = "For a whole PROXY header." },
    { "limits.response_head_timeout", VALUE_DURATION, AT(proxy.response_head_ms), "300s", .min = 10,
      .words = "Longest wait for the head of an app's response." },
    { "limits.fields", VALUE_SIZE, AT(limits.fields_soft), "128", .min = 8,
      .words = "Header fields of a message; above: 431." },
    { "limits.fields_hard", VALUE_SIZE, AT(limits.fields_hard), "1000", .min = 8,
      .words = "Above: the connection closes." },
    { "limits.cookie_crumbs", VALUE_SIZE, AT(limits.cookie_crumbs), "128", .min = 1,
      .words = "HTTP/2 cookie crumbs, counted apart; above: 431." },
    { "limits.field_bytes", VALUE_BYTES, AT(limits.field_bytes_soft), "32KiB", .min = 1024,
      .words = "Decoded header bytes, 32 per field counted; above: 431." },
    { "limits.field_bytes_hard", VALUE_BYTES, AT(limits.field_bytes_hard), "64KiB", .min = 1024,
      .words = "Above: the connection closes." },
    { "limits.header_block_bytes", VALUE_BYTES, AT(limits.header_block_bytes), "64KiB", .min = 1024,
      .words = "Compressed HTTP/2 header block; above: the connection closes." },
    { "limits.target_bytes", VALUE_BYTES, AT(limits.target_bytes), "8KiB", .min = 64,
      .words = "Request target; above: 414." },
    { "limits.window_bytes", VALUE_BYTES, AT(limits.window_bytes), "64KiB",
      BETWEEN(16384, 1u << 24),
      .words = "Buffered per stream and direction (the HTTP/2 window that we give)." },
    { "limits.backlog_bytes", VALUE_BYTES, AT(limits.backlog_bytes), "256KiB", .min = 16384,
      .words = "Unsent bytes per connection; then nothing more is framed." },
    { "limits.write_stall", VALUE_DURATION, AT(limits.write_stall_ms), "60s", .min = 100,
      .words = "A peer that accepts no byte for so long is cut." },
    { "limits.ping_interval", VALUE_DURATION, AT(limits.ping_ms), "10s", .min = 10,
      .words = "HTTP/2 PING after so much silence while streams are open, both sides." },
    { "limits.ping_timeout", VALUE_DURATION, AT(limits.ping_timeout_ms), "5s", .min = 10,
      .words = "Then the peer is dead." },
    { "limits.h1.head_timeout", VALUE_DURATION, AT(limits.head_timeout_ms), "10s", .min = 10,
      .words = "For a whole request head." },
    { "limits.h1.keepalive", VALUE_DURATION, AT(limits.keepalive_ms), "60s", .min = 10,
      .words = "Idle HTTP/1.1 connection." },
    { "limits.h1.keepalive_requests", VALUE_SIZE, AT(limits.keepalive_requests), "1000", .min = 1,
      .words = "Requests on one connection." },
    { "limits.h2.streams", VALUE_U32, AT(limits.streams), "1024", BETWEEN(1, 1u << 20),
      .words = "Streams at once per client connection once it has shown a token." },
    { "limits.h2.streams_untrusted", VALUE_U32, AT(limits.streams_untrusted), "100", .min = 1,
      .words = "Until then." },
    { "limits.h2.streams_total", VALUE_U64, AT(limits.streams_total), "10000", .min = 1,
      .words = "In the life of a connection; then a graceful GOAWAY." },
    { "limits.h2.idle", VALUE_DURATION, AT(limits.idle_ms), "120s", .min = 10,
      .words = "Connection without a stream." },
    { "limits.h2.outbound_frames", VALUE_SIZE, AT(limits.outbound_frames), "1000", .min = 16,
      .words = "Frames queued to send; above: the connection closes." },
    { "limits.h2.reset_burst", VALUE_U32, AT(limits.reset_burst), "200", .min = 1,
      .words = "Rapid reset: resets by the peer, bucket size." },
    { "limits.h2.reset_rate", VALUE_U32, AT(limits.reset_rate), "20", .min = 1,
      .words = "Rapid reset: refill per second." },
    { "limits.h2.glitches", VALUE_U32, AT(limits.glitches), "100", .min = 4,
      .words =
          "Protocol errors and resets forced on us in 60 s; graceful GOAWAY at three quarters." },
    { "limits.h2.reset_sample", VALUE_U32, AT(limits.reset_sample), "500", BETWEEN(2, 512),
      .words = "Rapid reset: when half of so many last streams were reset within a second of "
               "opening." },
    { "limits.h2.pings", VALUE_U32, AT(limits.pings), "50", .min = 1,
      .words = "PINGs of the peer in 10 s. Above this and each of the following: "
               "`ENHANCE_YOUR_CALM` and close." },
    { "limits.h2.settings_frames", VALUE_U32, AT(limits.settings_frames), "10", .min = 2,
      .words = "SETTINGS frames in 60 s." },
    { "limits.h2.priorities_per_stream", VALUE_U32, AT(limits.priorities_per_stream), "100",
      .min = 1, .words = "PRIORITY frames for each stream so far, and as many again." },
    { "limits.h2.window_updates_per_data", VALUE_U32, AT(limits.window_updates_per_data), "10",
      .min = 1,
      .words = "WINDOW_UPDATE frames: 1 + 2 × (streams so far + this × DATA frames sent)." },
    { "limits.h2.empty_data_frames", VALUE_U32, AT(limits.empty_data_frames), "5", .min = 1,
      .words = "Empty DATA frames in a row that end nothing." },
    { "limits.h2.continuation_frames", VALUE_U32, AT(limits.continuation_frames), "64", .min = 2,
      .words = "Frames of one header block." },
    { "limits.h2.overhead_bytes", VALUE_U64, AT(limits.overhead_bytes), "1048576", .min = 1024,
      .words = "All bytes received ÷ 8 may exceed payload in both directions by this (unknown "
               "frames, and whatever nothing else counts)." },
};
const size_t config_schema_count = COUNT_OF(config_schema);
