//go:build unix && !linux

package pgserver

import "syscall"

const openFiles = "" // no such folder

// endWithParent does nothing: only Linux tells a child of its parent's death. A
// killed parent leaves PostgreSQL running until it is stopped by hand.
func endWithParent(*syscall.SysProcAttr) {}
