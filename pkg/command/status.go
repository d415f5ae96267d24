package command

import (
	"errors"
	"fmt"
)

// The exit statuses of a program besides 0.
const (
	StatusFailed      = 1
	StatusUsage       = 2 // it was called wrongly
	StatusDiffers     = 3 // what it compared is different
	StatusRefused     = 4 // a rule or another change stands against it
	StatusUnreachable = 5 // a service did not answer
)

type statusError struct {
	error
	status int
}

func (e *statusError) Unwrap() error { return e.error }

// WithStatus is err, for which the program exits with a status instead of
// [StatusFailed].
func WithStatus(status int, err error) error { return &statusError{err, status} }

// Usagef returns an error of how the program was called.
func Usagef(format string, args ...any) error {
	return WithStatus(StatusUsage, fmt.Errorf(format, args...))
}

func statusOf(err error) int {
	var e *statusError
	if errors.As(err, &e) {
		return e.status
	}
	return StatusFailed
}
