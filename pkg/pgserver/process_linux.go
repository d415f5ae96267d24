package pgserver

import "syscall"

// openFiles is the folder of a process's open files by number.
const openFiles = "/proc/self/fd/"

// endWithParent makes the kernel stop the child when this process is killed.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }
