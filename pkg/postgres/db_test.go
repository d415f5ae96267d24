package postgres

import (
	"reflect"
	"testing"
)

// A use case can neither commit, nor run a statement without a purpose.
func TestTxHidesTheDriver(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Commit", "Rollback", "Exec", "ExecContext", "QueryContext", "GetContext", "Unsafe"} {
		if _, exported := reflect.TypeFor[*Tx]().MethodByName(name); exported {
			t.Errorf("Tx exports %s", name)
		}
	}
}
