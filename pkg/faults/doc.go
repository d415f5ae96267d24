// Package faults holds Flaggery's promises about faults to their word: each test
// makes one fault for real (a killed PostgreSQL, a cut network, a full disk, a
// stopped process…) under load, on the two programs as they are shipped, while a
// checker compares every answer with the state of the database at the revision
// that the answer names.
//
// It is tests only. `go test ./pkg/faults` makes each fault in the short form
// that a working day bears; with -full it lasts as long as the promise says and
// needs root on Linux where networks or file systems are made:
//
//	go test ./pkg/faults -full -timeout 2h -v
//
// Other flags: -seed repeats the random choices of an earlier run, -soak sets
// how long TestSoak runs, -report names a file for the measured figures, one JSON
// object a line.
//
// A test prints its seed and its figures, and where it fails the last lines of
// each program's log.
package faults
