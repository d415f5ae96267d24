// Package faults tests Flaggery's promises about faults. Each test causes one real
// fault (a killed PostgreSQL, a cut network, a full disk, a stopped process…) under
// load, with the two programs as they are shipped. A checker compares every answer
// with the state of the database at the revision that the answer names.
//
// It is tests only. `go test ./pkg/faults` runs a short form of each fault; with
// -full a fault lasts as long as the promise says. Tests that create networks or
// file systems then need root on Linux:
//
//	go test ./pkg/faults -full -timeout 2h -v
//
// Other flags: -seed repeats the random choices of an earlier run, -soak sets
// how long TestSoak runs, -report names a file for the measured figures, one JSON
// object a line.
//
// A test prints its seed and its figures and, if it fails, the last lines of each
// program's log.
package faults
