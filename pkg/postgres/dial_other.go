//go:build !linux

package postgres

import "syscall"

// limitUnanswered does nothing: other systems have no such option, only keep-alive
// probes.
func limitUnanswered(string, string, syscall.RawConn) error { return nil }
