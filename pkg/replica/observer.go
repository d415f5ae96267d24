package replica

import "time"

// Observer learns what a Replica does. Several goroutines may call its methods at
// once, and none may take long.
type Observer interface {
	Notified()                             // by the source, of a change
	Connected()                            // to the source's notifications
	Unannounced()                          // a poll found a change, and no notification came
	LoadProgressed(subjects int64)         // a full load has read so many; 0 at its end
	Updated(full bool, took time.Duration) // from the question to serving the answer
	Propagated(took time.Duration)         // from a change in the database to serving it
	Failed(err error)                      // an update; a refused one is a [snapshot.Refused]
	FileRead(err error)                    // the snapshot file; nil if it can be used
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
