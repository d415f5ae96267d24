package state

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/model"
)

// fill repeats a text up to the largest size of a document.
func fill(begin, repeated string) string {
	return begin + strings.Repeat(repeated, (MaxSize-len(begin))/len(repeated))
}

// numbered repeats a format with a counter up to a size.
func numbered(begin, format string, size int) string {
	b := []byte(begin)
	for i := 0; len(b) < size-100; i++ {
		b = fmt.Appendf(b, format, i)
	}
	return string(b)
}

// Texts as large as they may be are rejected at a bounded cost, however they are formed.
func TestHostileTextsAreCheap(t *testing.T) {
	const most = 50 << 20 // bytes, beside the text itself
	laughs := "version: 1\nowner: &a [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n"
	for c := 'b'; c < 'j'; c++ {
		laughs += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 9))
	}
	for name, text := range map[string]string{
		"alias bomb":            laughs,
		"opening brackets":      fill("", "["),
		"opening braces":        fill("", "{a: "),
		"quoted braces":         fill("", `{"a":`),
		"dashes":                fill("", "- "),
		"question marks":        fill("", "? "),
		"keys in a line":        fill("", "a: "),
		"deep blocks":           deepBlocks(),
		"random bytes":          fill("", "\x8f\x03{]\""),
		"duplicate keys":        fill("version: 1\n", "owner: a\n"),
		"duplicate features":    fill("version: 1\nfeatures:\n", "  a: {}\n"),
		"features":              numbered("version: 1\nfeatures:\n", "  f%d: {}\n", MaxSize),
		"unknown keys":          numbered("version: 1\n", "key%040d: 1\n", MaxSize),
		"names that are wrong":  numbered("version: 1\nfeatures:\n", "  -%040d: {}\n", MaxSize),
		"values that are null":  numbered("version: 1\nfeatures:\n", "  f%040d:\n", MaxSize),
		"items":                 fill("version: 1\nfeatures: [", "1,"),
		"empty items":           fill("version: 1\nfeatures:\n", "- \n"),
		"nested items":          fill("version: 1\nfeatures: [", "[],"),
		"payload of items":      fill("version: 1\nfeatures: {a: {variants: {A: {payload: [", "1,"),
		"comments":              fill("", "# a\n"),
		"one comment":           fill("# ", "#"),
		"empty lines":           fill("", "\n"),
		"empty lines, then a":   fill("version: 1\nowner: a", "\n")[:MaxSize-1] + "b",
		"spaces":                fill("", " "),
		"tabs":                  fill("", "\t"),
		"long string":           fill("version: 1\nowner: ", "a"),
		"long key":              fill("", "a"),
		"long lines":            fill("version: 1\nowner: a", "\n a"),
		"long quoted string":    fill(`owner: "`, `a`),
		"escapes":               fill(`owner: "`, `\u00e9`) + `"`,
		"tabs in quotes":        fill(`owner: "`, "\t"),
		"line breaks in quotes": fill(`owner: "a`, "\n\n a"),
		"single quotes":         fill("owner: '", "''"),
		"literal block":         fill("owner: |\n", "  a\n"),
		"folded block":          fill("owner: >-\n", "  a\n\n"),
		"colons":                fill("owner: a", ":a"),
		"colons in brackets":    fill("{a", "b:"),
		"long number":           fill("version: 1", "0"),
		"markers":               fill("", "---\n"),
	} {
		t.Run(name, func(t *testing.T) {
			data := []byte(text)
			if len(data) > MaxSize {
				data = data[:MaxSize]
			}
			var err error
			peak := peakOf(func() { _, err = Parse(data) })
			t.Logf("%5.1f MiB", float64(peak)/(1<<20))
			if model.CodeOf(err) != model.ValidationFailed {
				t.Fatalf("want %s, is %v", model.ValidationFailed, err)
			}
			if peak > most {
				t.Errorf("needs %d bytes, at most %d may be", peak, most)
			}
			if len(err.Error()) > 1<<20 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

// peakOf is how many bytes of heap a function needs at most, beside what is there before.
// The garbage collector runs as often as it must to stay below that, as it does in a
// container with a limit.
func peakOf(f func()) (peak uint64) {
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	runtime.GC()
	metrics.Read(heap)
	before := heap[0].Value.Uint64()
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			metrics.Read(heap)
			peak = max(peak, heap[0].Value.Uint64())
			select {
			case <-done:
				return
			default:
				runtime.Gosched()
			}
		}
	}()
	f()
	close(done)
	<-ended
	return peak - min(peak, before)
}

// deepBlocks is a text in which each line is indented by one more than the one before.
func deepBlocks() string {
	var b strings.Builder
	for i := 0; i < 1000; i++ {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}
