/* proxy/port_page.c — see port_page.h. */
#include "proxy/port_page.h"

struct page_row {
    const char *title;
    const char *cause;  /* whose fault it is, in one sentence */
    const char *advice; /* what to do */
};

static const struct page_row row_sign_in = {
    "Sign in to open this",
    "This port of the computer is private, and your browser has not shown that it may open it.",
    "Open it from your dashboard, or by the link that you were given: links are valid for a "
    "limited "
    "time.",
};
static const struct page_row row_expired = {
    "Your access has ended",
    "The link or session that opened this port has expired or was revoked.",
    "Open it anew from your dashboard, or ask for a new link.",
};
static const struct page_row row_forbidden = {
    "You may not open this",
    "Your access is for another computer or another port than this one.",
    "Open this one from its own link, or ask its owner for access.",
};
static const struct page_row row_foreign = {
    "This request came from another site",
    "A page of another site tried to act on this app in your name, so it was stopped.",
    "If you did mean it, do it from a page of this app.",
};
static const struct page_row row_unknown = {
    "Nothing is published here",
    "No computer publishes a port under this name.",
    "Check the address. The port may have been unpublished, or the computer deleted.",
};
static const struct page_row row_stopped = {
    "The computer is not running",
    "The app lives on a computer that is stopped or still starting; neither the app nor the "
    "gateway "
    "is broken.",
    "Start the computer, then load this page again.",
};
static const struct page_row row_closed = {
    "Nothing is listening on this port",
    "The computer is up, but no app listens on the port that is published here.",
    "Start the app on the computer, or wait a moment if it is just starting, then load this page "
    "again.",
};
static const struct page_row row_app_failed = {
    "The app broke off",
    "The app on the computer closed the connection without a complete answer.",
    "Look at the app's own log on the computer; loading the page again may help.",
};
static const struct page_row row_app_wrong = {
    "The app's answer makes no sense",
    "The app on the computer answered with something that is not valid HTTP, or not what was "
    "asked.",
    "Check that the published port speaks the protocol that it is published with.",
};
static const struct page_row row_app_slow = {
    "The app did not answer in time",
    "The app on the computer took the request, but sent no answer.",
    "Look at the app's own log on the computer; loading the page again may help.",
};
static const struct page_row row_unreachable = {
    "The computer cannot be reached",
    "The gateway gets no connection to the computer right now. The app may be fine.",
    "Try again in a moment. If it lasts, the computer may need a restart.",
};
static const struct page_row row_busy = {
    "Too many requests at once",
    "More requests to this computer are open than it is allowed to have.",
    "Try again in a moment.",
};
static const struct page_row row_gateway = {
    "This cannot be served right now",
    "The fault lies with the gateway, not with the app or the computer.",
    "Try again in a moment.",
};
static const struct page_row row_request = {
    "This request cannot be served",
    "What was sent is not a request that this address can take.",
    "Check the address.",
};

static const struct page_row *access_row_of(enum status status)
{
    switch (status) {
    case STATUS_TOKEN_EXPIRED:
    case STATUS_TOKEN_REVOKED:
        return &row_expired;
    case STATUS_TOKEN_KIND:
    case STATUS_TOKEN_CAPABILITY:
    case STATUS_TOKEN_COMPUTER:
    case STATUS_TOKEN_PORT:
        return &row_forbidden;
    case STATUS_ORIGIN_FOREIGN:
        return &row_foreign;
    default:
        return status_http(status) == 401 ? &row_sign_in : NULL;
    }
}

static const struct page_row *upstream_row_of(enum status status)
{
    switch (status) {
    case STATUS_HOST_UNKNOWN:
    case STATUS_COMPUTER_UNKNOWN:
    case STATUS_PATH_UNKNOWN:
        return &row_unknown;
    case STATUS_COMPUTER_NOT_RUNNING:
        return &row_stopped;
    case STATUS_PORT_CLOSED:
        return &row_closed;
    case STATUS_AGENT_LOST:
    case STATUS_AGENT_RESET:
        return &row_app_failed;
    case STATUS_AGENT_PROTOCOL:
        return &row_app_wrong;
    case STATUS_DEADLINE_EXCEEDED:
        return &row_app_slow;
    case STATUS_AGENT_UNREACHABLE:
    case STATUS_AGENT_TIMED_OUT:
    case STATUS_ROUTE_REFUSED:
        return &row_unreachable;
    case STATUS_LIMIT_REACHED:
    case STATUS_AGENT_BUSY:
        return &row_busy;
    default:
        return NULL;
    }
}

static const struct page_row *row_of(enum status status)
{
    const struct page_row *row = access_row_of(status);

    if (row == NULL)
        row = upstream_row_of(status);
    if (row == NULL)
        row = status_http(status) >= 500 ? &row_gateway : &row_request;
    return row;
}

const char *port_error_word(enum status status)
{
    if (status == STATUS_ORIGIN_FOREIGN)
        return "origin_foreign";
    switch (status_http(status)) {
    case 401:
        return "auth_required";
    case 403:
        return "machine_unauthorized";
    default:
        return NULL;
    }
}

const char *port_words(enum status status)
{
    switch (status) {
    case STATUS_TOKEN_MISSING:
        return "auth_required: this port is private; open it by its access_url, or send its token "
               "as "
               "cookie " PORT_COOKIE ", X-Access-Token or ?access_token=";
    case STATUS_TOKEN_EXPIRED:
        return "auth_required: the token has expired";
    case STATUS_TOKEN_REVOKED:
        return "auth_required: the session was revoked";
    case STATUS_TOKEN_COMPUTER:
        return "machine_unauthorized: the token is for another computer";
    case STATUS_TOKEN_PORT:
        return "machine_unauthorized: the token is for another port";
    case STATUS_TOKEN_KIND:
        return "machine_unauthorized: the token's kind may not open this port";
    case STATUS_HOST_UNKNOWN:
        return "no port is published under this name";
    case STATUS_AGENT_LOST:
    case STATUS_AGENT_RESET:
        return "the app closed the connection without a complete answer";
    case STATUS_AGENT_PROTOCOL:
        return "the app's answer is not valid HTTP";
    case STATUS_DEADLINE_EXCEEDED:
        return "the app did not answer in time";
    case STATUS_AGENT_UNREACHABLE:
    case STATUS_AGENT_TIMED_OUT:
        return "the computer cannot be reached";
    case STATUS_AGENT_BUSY:
        return "the app takes no more requests at once";
    default:
        return NULL;
    }
}

/* ---- the page ---- */

static const char page_style[] =
    ":root{color-scheme:light dark;--ink:#1d2330;--dim:#5a6377;--paper:#f6f7f9;--card:#fff;"
    "--line:#dde1e8;--mark:#b4541a}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--dim:#9aa4b8;--paper:#14171d;"
    "--card:#1c2029;--line:#2d3340;--mark:#f0a06a}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);"
    "font:16px/1.55 system-ui,-apple-system,'Segoe UI',sans-serif}"
    "main{max-width:38rem;margin:14vh auto 2rem;padding:2rem;background:var(--card);"
    "border:1px solid var(--line);border-radius:12px}"
    "h1{font-size:1.45rem;line-height:1.25;margin:.2rem 0 .8rem}p{margin:.6rem 0}"
    ".code{color:var(--mark);font-weight:600;font-size:.9rem;margin:0}"
    "footer{margin-top:1.6rem;padding-top:.9rem;border-top:1px solid var(--line);color:var(--dim);"
    "font-size:.85rem;overflow-wrap:anywhere}"
    "@media(max-width:40rem){main{margin:1rem;padding:1.3rem}}";

static void append_text(struct buf *into, const char *text)
{
    reply_append_html_text(into, slice_from_string(text));
}

void port_page_append(struct buf *into, const struct reply *reply, unsigned http)
{
    const struct page_row *row = row_of(reply->status);
    const char *word = port_error_word(reply->status);

    buf_append(into,
               SLICE("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                     "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"));
    if (reply->comes_again)
        buf_append(into, SLICE("<meta http-equiv=\"refresh\" content=\"3\">"));
    buf_append(into, SLICE("<title>"));
    append_text(into, row->title);
    buf_printf(into, "</title><style>%s</style></head><body><main><p class=\"code\">%u</p><h1>",
               page_style, http);
    append_text(into, row->title);
    buf_append(into, SLICE("</h1><p>"));
    append_text(into, row->cause);
    buf_append(into, SLICE("</p><p>"));
    append_text(into, row->advice);
    buf_append(into, SLICE("</p><footer>"));
    reply_append_html_text(into, reply->host);
    if (reply->port != 0)
        buf_printf(into, " &middot; port %u", reply->port);
    buf_printf(into, "<br>%s &middot; request ", word != NULL ? word : status_name(reply->status));
    reply_append_html_text(into, reply->request_id);
    buf_append(into, SLICE("</footer></main></body></html>\n"));
}
