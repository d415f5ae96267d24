//go:build unix && !linux

package pgserver

import "syscall"

const openFiles = "" // no such folder

// endWithParent does nothing: only Linux can end a child with its parent. After a
// killed parent, PostgreSQL runs until it is stopped by hand.
func endWithParent(*syscall.SysProcAttr) {}
