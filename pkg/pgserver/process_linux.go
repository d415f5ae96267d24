package pgserver

import "syscall"

// openFiles is where a process finds its open files by number.
const openFiles = "/proc/self/fd/"

// endWithParent has the kernel stop the child when this process is killed.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }
