package state

import (
	"encoding/json"
	"fmt"
	"time"

	"pgregory.net/rapid"
)

// nasty are strings that YAML takes for something else if they stand without quotes, or
// that are hard to write.
var nasty = []string{
	"", "null", "~", "yes", "No", "on", "TRUE", "0x10", "0o17", "017", "1e3", "1.0", "-1", "+1", ".5", ".inf", ".NaN", "1_000", "12:30:45",
	"2027-01-31", "2027-01-31T15:04:05Z", "- a", "-", "---", "...", ": b", "a: b", "a:", ":", "# c", "a # b", "a #", "&a", "*a", "!a", "%a", "@a", "`a",
	"|", ">", "{", "}", "[a]", ",", "a, b", "?", "? a", "<<", "=", "'", "''", `"`, `\`, `\n`, " a", "a ", "\ta", "a\t", "a\tb", "  ",
	"\n", "a\n", "\na", "a\nb", "a\nb\n", "a\n\nb", "a\n b", "a \nb", "a\n\n", "a\r\nb", "- a\n# b\nc: d", "---\na", "|\n>",
	"é", "\u0085", "a\u2028b", "\u2029", "\ufeff", "\ufffd", "\u00a0", "\u200b", "\u202e", "😀", "日本", "\x7f", "\u0080", "\x01", "</script>&",
}

func texts() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom(nasty),
		rapid.StringOf(rapid.RuneFrom([]rune("aB1 \t\n-:#,.'\"\\{}[]&*!|>%@`?~=é\u0085\u2028😀"))),
		rapid.String(),
	)
}

// words are strings that names for people may be.
func words() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"checkout-repo", "null", "yes", "1", "1.5", "- a", "a: b", "# c", "@team", "é 😀", `"a"`, "it's", "a\\b", "true", "0x1F"})
}

func names() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"checkout", "checkout.button", "null", "true", "yes", "off", "1", "1.0", "0x10", "1e3", "a-b_c", "2027-01-31", "y"}),
		rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,12}`),
	)
}

func variants() *rapid.Generator[string] {
	return rapid.OneOf(names(), rapid.Just("__DISABLE__"))
}

func optional[T any](t *rapid.T, values *rapid.Generator[T]) (f Field[T]) {
	switch rapid.IntRange(0, 3).Draw(t, "given") {
	case 0:
		return f
	case 1:
		return Null[T]()
	}
	return Of(values.Draw(t, "value"))
}

// mapOf draws a map; none is nil, as an empty one says the same.
func mapOf[V any](t *rapid.T, keys *rapid.Generator[string], value func() V) map[string]V {
	drawn := rapid.SliceOfNDistinct(keys, 0, 4, rapid.ID[string]).Draw(t, "keys")
	if len(drawn) == 0 {
		return nil
	}
	all := map[string]V{}
	for _, key := range drawn {
		all[key] = value()
	}
	return all
}

func proportions() *rapid.Generator[float64] {
	return rapid.OneOf(rapid.Float64Range(0, 1), rapid.SampledFrom([]float64{0, 1, 0.1, 1e-7, 5e-324}))
}

func times() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		return time.UnixMicro(rapid.Int64Range(0, 200_000_000_000_000_000).Draw(t, "time")).UTC()
	})
}

// payloads are canonical.
func payloads() *rapid.Generator[json.RawMessage] {
	return rapid.Custom(func(t *rapid.T) json.RawMessage {
		raw, err := Canonical(payload(t, 3))
		if err != nil {
			t.Fatal(err)
		}
		if string(raw) == "null" {
			return json.RawMessage("0")
		}
		return raw
	})
}

func payload(t *rapid.T, depth int) json.RawMessage {
	switch rapid.IntRange(0, 2+depth).Draw(t, "kind") {
	case 0:
		return json.RawMessage(rapid.SampledFrom([]string{"null", "true", "false", "0", "-0", "1.0", "1e3", "1E+3", "-1.50", "12345678901234567890", "0.1e-7", "1e308"}).Draw(t, "literal"))
	case 1, 2:
		quoted, err := json.Marshal(texts().Draw(t, "text"))
		if err != nil {
			t.Fatal(err)
		}
		return quoted
	case 3:
		array := []json.RawMessage{}
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			array = append(array, payload(t, depth-1))
		}
		raw, _ := json.Marshal(array)
		return raw
	default:
		members := map[string]json.RawMessage{}
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			members[texts().Draw(t, "name")] = payload(t, depth-1)
		}
		raw, _ := json.Marshal(members)
		return raw
	}
}

func documents() *rapid.Generator[*Document] {
	return rapid.Custom(func(t *rapid.T) *Document {
		d := &Document{Version: Version, Owner: rapid.OneOf(rapid.Just(""), words()).Draw(t, "owner")}
		d.Features = mapOf(t, names(), func() *Feature {
			f := &Feature{
				Owner: optional(t, words()), Description: optional(t, texts().Filter(func(s string) bool { return checkText(s) == nil })),
				Tags: optional(t, rapid.SliceOfNDistinct(words(), 0, 3, rapid.ID[string])), Contact: optional(t, rapid.OneOf(rapid.Just(""), words())),
				Expires: optional(t, rapid.SampledFrom([]string{"2027-01-31", "1999-12-01", ""})), Permanent: optional(t, rapid.Bool()),
				Archived: optional(t, rapid.Bool()), Off: optional(t, rapid.Bool()), Default: optional(t, variants()),
				Rollout: optional(t, rapid.Custom(func(t *rapid.T) Rollout {
					r := Rollout{Variant: variants().Draw(t, "variant")}
					if rapid.Bool().Draw(t, "operated") {
						r.Proportion = Of(proportions().Draw(t, "proportion"))
					}
					return r
				})),
			}
			f.Variants = mapOf(t, names(), func() *Variant {
				if rapid.IntRange(0, 3).Draw(t, "absent") == 0 {
					return nil
				}
				return &Variant{Payload: optional(t, payloads())}
			})
			if f.Variants != nil && rapid.Bool().Draw(t, "disabling") {
				f.Variants["__DISABLE__"] = &Variant{}
			}
			return f
		})
		d.Groups = mapOf(t, names(), func() *Group {
			return &Group{
				Owner: optional(t, words()), Priority: optional(t, rapid.IntRange(-1<<31, 1<<31-1)),
				Overrides: mapOf(t, names(), func() *string { return optional(t, variants()).Value }),
			}
		})
		d.ABTests = mapOf(t, names(), func() *ABTest { return abTest(t) })
		return d
	})
}

func abTest(t *rapid.T) *ABTest {
	test := &ABTest{Owner: optional(t, words()), Start: times().Draw(t, "start")}
	test.End = test.Start.Add(time.Duration(rapid.Int64Range(1, 1e12).Draw(t, "length")) * time.Microsecond)
	features := rapid.SliceOfNDistinct(names(), 1, 3, rapid.ID[string]).Draw(t, "features")
	shares := rapid.SampledFrom([][]float64{nil, {0.5, 0.5}, {0.1, 0.9}, {0, 1}}).Draw(t, "shares")
	for i := range 2 {
		g := TestGroup{Name: fmt.Sprintf("%d-%s", i, names().Draw(t, "name")), Variants: map[string]string{}}
		if shares != nil {
			g.Proportion = &shares[i]
		}
		for _, f := range features {
			g.Variants[f] = variants().Draw(t, "variant")
		}
		test.Groups = append(test.Groups, g)
	}
	return test
}
