/* The order matters: the user is given up after what takes root, and system calls after all that takes them. */
#define _GNU_SOURCE
#include "sandbox.h"

#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 65534u
#define FIRST_TO_CLOSE 2u /* an error message has no reader */

#if defined(__x86_64__) && defined(__LP64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined(__arm__) && defined(__ARMEL__)
#define ARCHITECTURE AUDIT_ARCH_ARM
#elif defined(__riscv) && (__riscv_xlen == 64)
#define ARCHITECTURE AUDIT_ARCH_RISCV64
#endif

/* The linker's: where the program's image starts and ends in memory. */
extern const char __executable_start[];
extern const char _end[];

static uint32_t limit(int resource, rlim_t value, sandbox_limit bit)
{
    struct rlimit bound;
    if (getrlimit(resource, &bound) != 0) {
        return 0u;
    }
    if (bound.rlim_max > value) { /* one that is lower already stays: only root may raise it */
        bound.rlim_max = value;
    }
    bound.rlim_cur = bound.rlim_max;
    return (setrlimit(resource, &bound) == 0) ? (uint32_t)bit : 0u;
}

static uint32_t stay_on(int core)
{
    cpu_set_t cores;
    if ((core < 0) || (core >= CPU_SETSIZE)) {
        return 0u;
    }
    CPU_ZERO(&cores);
    CPU_SET((size_t)core, &cores);
    return (sched_setaffinity(0, sizeof cores, &cores) == 0) ? (uint32_t)SANDBOX_AFFINITY : 0u;
}

static uint32_t close_files(void)
{
#ifdef SYS_close_range
    return (syscall(SYS_close_range, FIRST_TO_CLOSE, ~0u, 0u) == 0) ? (uint32_t)SANDBOX_CLOSED_FILES : 0u;
#else
    return 0u;
#endif
}

static uint32_t become_nobody(void)
{
    const int left = (setgroups(0, NULL) == 0) && (setresgid(NOBODY, NOBODY, NOBODY) == 0) &&
                     (setresuid(NOBODY, NOBODY, NOBODY) == 0);
    return (left && (setresuid(0, 0, 0) != 0)) ? (uint32_t)SANDBOX_USER : 0u;
}

static uint32_t control(int option, unsigned long value, sandbox_limit bit)
{
    return (prctl(option, value, 0ul, 0ul, 0ul) == 0) ? (uint32_t)bit : 0u;
}

/* A filter and not SECCOMP_MODE_STRICT, which a process cannot enter inside a container that has a filter already. */
static uint32_t give_up_system_calls(void)
{
#ifdef ARCHITECTURE
    static struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    static const struct sock_fprog program = {sizeof rules / sizeof rules[0], rules};
    return (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0) ? (uint32_t)SANDBOX_SYSTEM_CALLS : 0u;
#else
    return 0u;
#endif
}

uint32_t sandbox_enter(int core)
{
    const rlim_t image = (rlim_t)((uintptr_t)_end - (uintptr_t)__executable_start);
    uint32_t taken = stay_on(core);
    taken |= limit(RLIMIT_AS, image + SANDBOX_SPARE_BYTES, SANDBOX_ADDRESS_SPACE);
    taken |= limit(RLIMIT_DATA, 0u, SANDBOX_DATA);
    taken |= limit(RLIMIT_NOFILE, 0u, SANDBOX_OPEN_FILES);
    taken |= limit(RLIMIT_FSIZE, 0u, SANDBOX_FILE_SIZE);
    taken |= limit(RLIMIT_CORE, 0u, SANDBOX_CORE_DUMP);
    taken |= limit(RLIMIT_CPU, SANDBOX_CPU_SECONDS, SANDBOX_CPU_TIME);
    taken |= limit(RLIMIT_NPROC, 0u, SANDBOX_PROCESSES);
    taken |= close_files();
    taken |= (geteuid() == 0u) ? become_nobody() : 0u;
    taken |= control(PR_SET_NO_NEW_PRIVS, 1ul, SANDBOX_NO_NEW_PRIVILEGES);
    taken |= control(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, SANDBOX_PARENT); /* a change of user undoes it */
    taken |= give_up_system_calls();
    return taken;
}
