//go:build !linux

package postgres

import "syscall"

// limitUnanswered does nothing where the system has no such option; keep-alive
// probes are all there is.
func limitUnanswered(string, string, syscall.RawConn) error { return nil }
