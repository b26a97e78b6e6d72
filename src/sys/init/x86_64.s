// The init: see init.rs. From label 2 to label 5, at any place.
2:
    mov eax, 436                        // close_range(0, ~0, 0)
    xor edi, edi
    mov esi, 0xffffffff
    xor edx, edx
    syscall
    mov eax, 157                        // prctl(PR_SET_DUMPABLE, 0)
    mov edi, 4
    xor esi, esi
    syscall
    mov eax, 157                        // prctl(PR_SET_NAME, name)
    mov edi, 15
    lea rsi, [rip + 6f]
    syscall
    sub rsp, 160                        // siginfo_t, then the mask, then a timespec
    mov rax, {mask}
    mov [rsp + 128], rax
    mov qword ptr [rsp + 136], {patience}
    mov qword ptr [rsp + 144], 0
    lea r12, [rsp + 136]
3:
    mov eax, 128                        // rt_sigtimedwait(mask, info, r12, 8)
    lea rdi, [rsp + 128]
    mov rsi, rsp
    mov rdx, r12
    mov r10d, 8
    syscall
    cmp eax, {signal}
    je 8f
    cmp eax, -11                        // EAGAIN: the time is over
    jne 3b
    xor r12d, r12d
    mov eax, 62                         // kill(-1, 0)
    mov rdi, -1
    xor esi, esi
    syscall
    cmp eax, -3                         // ESRCH: there is nobody else
    je 4f
    jmp 3b
8:
    cmp dword ptr [rsp + 8], 0          // si_code
    jne 3b
    cmp dword ptr [rsp + 16], 0         // si_pid
    jne 3b
    mov eax, 434                        // pidfd_open(2, 0)
    mov edi, 2
    xor esi, esi
    syscall
    test eax, eax
    js 4f
    mov [rsp], eax
    mov dword ptr [rsp + 4], 1          // POLLIN
7:
    mov eax, 271                        // ppoll(rsp, 1, NULL, NULL, 8)
    mov rdi, rsp
    mov esi, 1
    xor edx, edx
    xor r10d, r10d
    mov r8d, 8
    syscall
    cmp eax, -4                         // EINTR
    je 7b
4:
    mov eax, 61                         // wait4(-1, NULL, __WALL, NULL)
    mov rdi, -1
    xor esi, esi
    mov edx, 0x40000000
    xor r10d, r10d
    syscall
    test eax, eax
    jg 4b
    cmp eax, -4                         // EINTR
    je 4b
    mov eax, 231                        // exit_group(0)
    xor edi, edi
    syscall
6:
    .asciz "ostler-init"
5:
