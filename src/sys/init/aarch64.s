// The init: see init.rs. From label 2 to label 5, at any place.
2:
    mov x8, #436                        // close_range(0, ~0, 0)
    mov x0, #0
    mov w1, #-1
    mov x2, #0
    svc 0
    mov x8, #167                        // prctl(PR_SET_DUMPABLE, 0)
    mov x0, #4
    mov x1, #0
    svc 0
    mov x8, #167                        // prctl(PR_SET_NAME, name)
    mov x0, #15
    adr x1, 6f
    svc 0
    sub sp, sp, #160                    // siginfo_t, then the mask, then a timespec
    mov x9, {mask}
    str x9, [sp, #128]
    mov x9, {patience}
    str x9, [sp, #136]
    str xzr, [sp, #144]
    add x19, sp, #136
3:
    mov x8, #137                        // rt_sigtimedwait(mask, info, x19, 8)
    add x0, sp, #128
    mov x1, sp
    mov x2, x19
    mov x3, #8
    svc 0
    cmp x0, {signal}
    b.eq 8f
    cmn x0, #11                         // EAGAIN: the time is over
    b.ne 3b
    mov x19, #0
    mov x8, #129                        // kill(-1, 0)
    mov x0, #-1
    mov x1, #0
    svc 0
    cmn x0, #3                          // ESRCH: there is nobody else
    b.eq 4f
    b 3b
8:
    ldr w9, [sp, #8]                    // si_code
    cbnz w9, 3b
    ldr w9, [sp, #16]                   // si_pid
    cbnz w9, 3b
    mov x8, #434                        // pidfd_open(2, 0)
    mov x0, #2
    mov x1, #0
    svc 0
    tbnz x0, #63, 4f
    str w0, [sp]
    mov w9, #1                          // POLLIN
    str w9, [sp, #4]
7:
    mov x8, #73                         // ppoll(sp, 1, NULL, NULL, 8)
    mov x0, sp
    mov x1, #1
    mov x2, #0
    mov x3, #0
    mov x4, #8
    svc 0
    cmn x0, #4                          // EINTR
    b.eq 7b
4:
    mov x8, #260                        // wait4(-1, NULL, __WALL, NULL)
    mov x0, #-1
    mov x1, #0
    mov x2, #0x40000000
    mov x3, #0
    svc 0
    cmp x0, #0
    b.gt 4b
    cmn x0, #4                          // EINTR
    b.eq 4b
    mov x8, #94                         // exit_group(0)
    mov x0, #0
    svc 0
6:
    .asciz "ostler-init"
5:
