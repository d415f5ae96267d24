package replica

import "time"

// Observer is notified of what a Replica does. Several goroutines may call its methods
// at once. The methods must return quickly.
type Observer interface {
	Notified()                             // the source sent a notification of a change
	Connected()                            // a connection for notifications is open
	Unannounced()                          // a poll found a change without a notification
	LoadProgressed(subjects int64)         // how many a full load has read; 0 at its end
	Updated(full bool, took time.Duration) // from the query of changes to serving them
	Propagated(took time.Duration)         // from a change in the database to serving it
	Failed(err error)                      // of an update; a [snapshot.Refused] if it was rejected
	FileRead(err error)                    // of the snapshot file; nil if it is usable
	FileWritten(err error)
}

// unobserved is the Observer of a Replica that has none.
type unobserved struct{}

func (unobserved) Notified()                   {}
func (unobserved) Connected()                  {}
func (unobserved) Unannounced()                {}
func (unobserved) LoadProgressed(int64)        {}
func (unobserved) Updated(bool, time.Duration) {}
func (unobserved) Propagated(time.Duration)    {}
func (unobserved) Failed(error)                {}
func (unobserved) FileRead(error)              {}
func (unobserved) FileWritten(error)           {}
