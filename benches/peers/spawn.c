/* The floor: starts N tasks as fast as a loop of vfork and exec can, and waits for them.
 *
 *   spawn N COMMAND [ARG...]      TERM ends the tasks, then itself
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t *children;
static int count;

static void end(int signal)
{
    (void)signal;
    for (int at = 0; at < count; at++)
        kill(children[at], SIGTERM);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    int wanted = atoi(argv[1]), null = open("/dev/null", O_RDWR);
    children = calloc(wanted, sizeof *children);
    if (!children || null < 0)
        return 1;
    signal(SIGTERM, end);
    for (; count < wanted; count++) {
        pid_t child = vfork();
        if (child < 0)
            return 1;
        if (child == 0) {
            for (int fd = 0; fd < 3; fd++)
                dup2(null, fd);
            execv(argv[2], argv + 2);
            _exit(127);
        }
        children[count] = child;
    }
    while (waitpid(-1, NULL, 0) > 0)
        ;
    return 0;
}
