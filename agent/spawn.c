/* agent/spawn.c — see spawn.h. */
#include "agent/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/pty.h"
#include "base/arena.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define DEFAULT_TERM "xterm-256color"

enum { SIDE_PARENT, SIDE_CHILD, SIDE_COUNT, PIPE_COUNT = 3 };

/* One start in the making; everything in it goes when spawn() returns. */
struct plan {
    const struct start_request *request;
    struct arena arena;
    struct buf *error;
    const char *path; /* of the program */
    const char *cwd;
    char **args;
    char **envs;
    size_t env_count;
    struct pty pty;
    int pipes[PIPE_COUNT][SIDE_COUNT]; /* by the child's descriptor; -1: none */
};

static const char *text_of(struct plan *plan, struct slice text)
{
    return arena_printf(&plan->arena, "%.*s", SLICE_ARGS(text)).ptr;
}

static bool has_nul(struct slice text)
{
    return text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL;
}

static enum connect_code refuse(struct plan *plan, enum connect_code code, const char *what,
                                struct slice name, const char *why)
{
    buf_printf(plan->error, "%s \"", what);
    buf_append(plan->error, slice_first(name, 200));
    buf_printf(plan->error, "\": %s", why);
    return code;
}

static enum connect_code check(struct plan *plan)
{
    const struct process_config *config = &plan->request->process;

    if (config->cmd.len == 0) {
        buf_append(plan->error, SLICE("process.cmd is empty"));
        return CONNECT_INVALID_ARGUMENT;
    }
    if (has_nul(config->cmd) || has_nul(config->cwd)) {
        buf_append(plan->error, SLICE("process.cmd and process.cwd may not hold NUL bytes"));
        return CONNECT_INVALID_ARGUMENT;
    }
    for (size_t i = 0; i < config->arg_count; i++)
        if (has_nul(config->args[i])) {
            buf_append(plan->error, SLICE("process.args may not hold NUL bytes"));
            return CONNECT_INVALID_ARGUMENT;
        }
    for (size_t i = 0; i < config->env_count; i++) {
        struct slice name = config->envs[i].name;

        if (name.len == 0 || has_nul(name) || slice_find(name, '=') < name.len ||
            has_nul(config->envs[i].value)) {
            buf_append(plan->error, SLICE("process.envs holds a bad name or a NUL byte"));
            return CONNECT_INVALID_ARGUMENT;
        }
    }
    return CONNECT_OK;
}

/* ---- environment ---- */

static bool is_requested(const struct process_config *config, const char *name)
{
    for (size_t i = 0; i < config->env_count; i++)
        if (slice_equal(config->envs[i].name, slice_from_string(name)))
            return true;
    return false;
}

static void add_base(struct plan *plan, const char *name, const char *value)
{
    if (value != NULL && !is_requested(&plan->request->process, name))
        plan->envs[plan->env_count++] =
            (char *)(uintptr_t)arena_printf(&plan->arena, "%s=%s", name, value).ptr;
}

static const char *or_default(const char *text, const char *fallback)
{
    return text != NULL && *text != '\0' ? text : fallback;
}

/* A clean base: nothing of the agent's own environment leaks but PATH, locale and time zone. A name
 * that is given twice: the last one counts. */
static void build_environment(struct plan *plan)
{
    enum { BASE_COUNT = 16 };
    const struct process_config *config = &plan->request->process;
    const struct passwd *user = getpwuid(getuid());

    plan->envs = arena_alloc(&plan->arena, (BASE_COUNT + config->env_count) * sizeof(char *));
    add_base(plan, "PATH", or_default(getenv("PATH"), DEFAULT_PATH));
    add_base(plan, "HOME", user != NULL ? user->pw_dir : or_default(getenv("HOME"), "/"));
    add_base(plan, "SHELL", user != NULL ? or_default(user->pw_shell, "/bin/sh") : "/bin/sh");
    if (user != NULL) {
        add_base(plan, "USER", user->pw_name);
        add_base(plan, "LOGNAME", user->pw_name);
    }
    add_base(plan, "LANG", getenv("LANG"));
    add_base(plan, "LC_ALL", getenv("LC_ALL"));
    add_base(plan, "TZ", getenv("TZ"));
    if (plan->request->has_pty)
        add_base(plan, "TERM", DEFAULT_TERM);
    for (size_t i = 0; i < config->env_count; i++) {
        bool is_last = true;

        for (size_t j = i + 1; j < config->env_count && config->env_count < 1000; j++)
            is_last = is_last && !slice_equal(config->envs[i].name, config->envs[j].name);
        if (is_last)
            plan->envs[plan->env_count++] =
                (char *)(uintptr_t)arena_printf(&plan->arena, "%.*s=%.*s",
                                                SLICE_ARGS(config->envs[i].name),
                                                SLICE_ARGS(config->envs[i].value))
                    .ptr;
    }
    plan->envs[plan->env_count] = NULL;
}

static const char *environment_value(const struct plan *plan, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < plan->env_count; i++)
        if (strncmp(plan->envs[i], name, len) == 0 && plan->envs[i][len] == '=')
            return plan->envs[i] + len + 1;
    return NULL;
}

static void build_arguments(struct plan *plan)
{
    const struct process_config *config = &plan->request->process;

    plan->args = arena_alloc(&plan->arena, (config->arg_count + 2) * sizeof(char *));
    plan->args[0] = (char *)(uintptr_t)text_of(plan, config->cmd);
    for (size_t i = 0; i < config->arg_count; i++)
        plan->args[i + 1] = (char *)(uintptr_t)text_of(plan, config->args[i]);
    plan->args[config->arg_count + 1] = NULL;
}

/* ---- where and what ---- */

static enum connect_code find_directory(struct plan *plan, const char *default_cwd)
{
    struct slice asked = plan->request->process.cwd;
    struct stat info;

    if (asked.len == 0)
        plan->cwd = default_cwd;
    else if (asked.ptr[0] == '/')
        plan->cwd = text_of(plan, asked);
    else
        plan->cwd = arena_printf(&plan->arena, "%s/%.*s", default_cwd, SLICE_ARGS(asked)).ptr;
    if (stat(plan->cwd, &info) == -1)
        return refuse(plan, CONNECT_INVALID_ARGUMENT, "cwd", slice_from_string(plan->cwd),
                      strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return refuse(plan, CONNECT_INVALID_ARGUMENT, "cwd", slice_from_string(plan->cwd),
                      "not a directory");
    return CONNECT_OK;
}

/* Returns 0, or the errno that says why `path` cannot be executed. */
static int probe(const char *path)
{
    struct stat info;

    if (stat(path, &info) == -1)
        return errno;
    if (S_ISDIR(info.st_mode))
        return EACCES;
    return access(path, X_OK) == -1 ? errno : 0;
}

/* As execvp(3) does it, but with the child's PATH and directory: a file that may not be executed is
 * passed over, and named only if nothing better follows. */
static int search(struct plan *plan, struct slice name)
{
    struct slice rest =
        slice_from_string(or_default(environment_value(plan, "PATH"), DEFAULT_PATH));
    int error = ENOENT;

    while (rest.len > 0) {
        struct slice folder = slice_cut(&rest, ':');
        const char *path;

        if (folder.len > 0 && folder.ptr[0] == '/')
            path =
                arena_printf(&plan->arena, "%.*s/%.*s", SLICE_ARGS(folder), SLICE_ARGS(name)).ptr;
        else
            path = arena_printf(&plan->arena, "%s/%.*s/%.*s", plan->cwd, SLICE_ARGS(folder),
                                SLICE_ARGS(name))
                       .ptr;
        int result = probe(path);

        if (result == 0) {
            plan->path = path;
            return 0;
        }
        if (result == EACCES)
            error = EACCES;
    }
    return error;
}

static enum connect_code code_of_errno(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return CONNECT_NOT_FOUND;
    case EACCES:
    case EPERM:
        return CONNECT_PERMISSION_DENIED;
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOSPC:
        return CONNECT_RESOURCE_EXHAUSTED;
    case E2BIG:
    case ELOOP:
    case ENAMETOOLONG:
    case ENOEXEC:
        return CONNECT_INVALID_ARGUMENT;
    default:
        return CONNECT_INTERNAL;
    }
}

static enum connect_code find_program(struct plan *plan)
{
    struct slice cmd = plan->request->process.cmd;
    int error;

    if (slice_find(cmd, '/') == cmd.len) {
        error = search(plan, cmd);
    } else {
        plan->path = cmd.ptr[0] == '/'
                         ? text_of(plan, cmd)
                         : arena_printf(&plan->arena, "%s/%.*s", plan->cwd, SLICE_ARGS(cmd)).ptr;
        error = probe(plan->path);
    }
    if (error == 0)
        return CONNECT_OK;
    return refuse(plan, code_of_errno(error), "cannot execute", cmd,
                  error == ENOENT ? "no such command" : strerror(error));
}

/* ---- descriptors ---- */

static enum connect_code open_pipe(struct plan *plan, int child_fd)
{
    int ends[2];
    bool child_reads = child_fd == STDIN_FILENO;

    if (pipe2(ends, O_CLOEXEC) == -1)
        return refuse(plan, code_of_errno(errno), "cannot make", SLICE("pipe"), strerror(errno));
    plan->pipes[child_fd][SIDE_PARENT] = ends[child_reads ? 1 : 0];
    plan->pipes[child_fd][SIDE_CHILD] = ends[child_reads ? 0 : 1];
    return CONNECT_OK;
}

static enum connect_code open_pipes(struct plan *plan)
{
    enum connect_code code = CONNECT_OK;

    if (!plan->request->has_stdin || plan->request->stdin_enabled)
        code = open_pipe(plan, STDIN_FILENO);
    if (code == CONNECT_OK)
        code = open_pipe(plan, STDOUT_FILENO);
    if (code == CONNECT_OK)
        code = open_pipe(plan, STDERR_FILENO);
    return code;
}

/* Input and output of a PTY are watched apart, hence two descriptors of the one master. */
static enum connect_code open_terminal(struct plan *plan)
{
    if (pty_open(&plan->pty) != STATUS_OK)
        return refuse(plan, code_of_errno(errno), "cannot open", SLICE("pty"), strerror(errno));
    if (plan->request->has_pty_size)
        pty_resize(plan->pty.master, plan->request->pty.cols, plan->request->pty.rows);
    plan->pipes[STDOUT_FILENO][SIDE_PARENT] = plan->pty.master;
    plan->pipes[STDIN_FILENO][SIDE_PARENT] = fcntl(plan->pty.master, F_DUPFD_CLOEXEC, 3);
    if (plan->pipes[STDIN_FILENO][SIDE_PARENT] == -1)
        return refuse(plan, code_of_errno(errno), "cannot open", SLICE("pty"), strerror(errno));
    return CONNECT_OK;
}

static void close_side(struct plan *plan, int side)
{
    for (int fd = 0; fd < PIPE_COUNT; fd++)
        if (plan->pipes[fd][side] >= 0) {
            close(plan->pipes[fd][side]);
            plan->pipes[fd][side] = -1;
        }
}

/* ---- the start ---- */

static int add_descriptors(struct plan *plan, posix_spawn_file_actions_t *actions)
{
    int error = posix_spawn_file_actions_addchdir_np(actions, plan->cwd);

    if (plan->request
            ->has_pty) { /* a session leader's first terminal becomes its controlling one */
        if (error == 0)
            error = posix_spawn_file_actions_addopen(actions, 0, plan->pty.name, O_RDWR, 0);
        for (int fd = 1; fd < PIPE_COUNT && error == 0; fd++)
            error = posix_spawn_file_actions_adddup2(actions, 0, fd);
    } else {
        for (int fd = 0; fd < PIPE_COUNT && error == 0; fd++)
            error = plan->pipes[fd][SIDE_CHILD] >= 0
                        ? posix_spawn_file_actions_adddup2(actions, plan->pipes[fd][SIDE_CHILD], fd)
                        : posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_RDONLY, 0);
    }
    return error == 0 ? posix_spawn_file_actions_addclosefrom_np(actions, PIPE_COUNT) : error;
}

static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t all, none;
    int error;

    sigfillset(&all);
    sigemptyset(&none);
    error = posix_spawnattr_setsigdefault(attributes, &all);
    if (error == 0)
        error = posix_spawnattr_setsigmask(attributes, &none);
    if (error == 0)
        error = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF |
                                                         POSIX_SPAWN_SETSIGMASK);
    return error;
}

static int run(struct plan *plan, pid_t *out_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);

    if (error != 0)
        return error;
    error = posix_spawnattr_init(&attributes);
    if (error == 0) {
        error = set_attributes(&attributes);
        if (error == 0)
            error = add_descriptors(plan, &actions);
        if (error == 0)
            error = posix_spawn(out_pid, plan->path, &actions, &attributes, plan->args, plan->envs);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

/* The agent raises its own limit to hold many processes; programs should not see that. */
static void restore_limit(pid_t pid, uint64_t inherited_files)
{
    struct rlimit limit;

    if (inherited_files == 0 || prlimit(pid, RLIMIT_NOFILE, NULL, &limit) == -1)
        return;
    limit.rlim_cur = inherited_files < limit.rlim_max ? inherited_files : limit.rlim_max;
    (void)prlimit(pid, RLIMIT_NOFILE, &limit, NULL);
}

static enum connect_code start(struct plan *plan, const struct spawn_options *options,
                               struct spawned *out_spawned)
{
    pid_t pid;
    int error = run(plan, &pid);

    if (error != 0)
        return refuse(plan, code_of_errno(error), "cannot execute", plan->request->process.cmd,
                      strerror(error));
    restore_limit(pid, options->inherited_files);

    int pid_fd = pidfd_open(pid, 0);

    if (pid_fd == -1) { /* out of descriptors: nobody would ever know of its exit */
        error = errno;
        (void)kill(-pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return refuse(plan, code_of_errno(error), "cannot watch", plan->request->process.cmd,
                      strerror(error));
    }
    *out_spawned = (struct spawned){
        .pid = pid,
        .pid_fd = pid_fd,
        .in = plan->pipes[STDIN_FILENO][SIDE_PARENT],
        .out = plan->pipes[STDOUT_FILENO][SIDE_PARENT],
        .err = plan->pipes[STDERR_FILENO][SIDE_PARENT],
    };
    return CONNECT_OK;
}

enum connect_code spawn(const struct start_request *request, const struct spawn_options *options,
                        struct buf *out_error, struct spawned *out_spawned)
{
    struct plan plan = { .request = request,
                         .error = out_error,
                         .pipes = { { -1, -1 }, { -1, -1 }, { -1, -1 } } };
    enum connect_code code = check(&plan);

    arena_init(&plan.arena, NULL, 0);
    if (code == CONNECT_OK)
        code = find_directory(&plan, options->default_cwd);
    if (code == CONNECT_OK) {
        build_environment(&plan);
        build_arguments(&plan);
        code = find_program(&plan);
    }
    if (code == CONNECT_OK)
        code = request->has_pty ? open_terminal(&plan) : open_pipes(&plan);
    if (code == CONNECT_OK)
        code = start(&plan, options, out_spawned);
    if (code != CONNECT_OK)
        close_side(&plan, SIDE_PARENT);
    close_side(&plan, SIDE_CHILD);
    arena_deinit(&plan.arena);
    return code;
}
