package plural

import "testing"

func TestOf(t *testing.T) {
	for want, got := range map[string]string{
		"0 objects":        Of(0, "object"),
		"1 object":         Of(1, "object"),
		"2 objects":        Of(int64(2), "object"),
		"1 delete marker":  Of(1, "delete marker"),
		"2 delete markers": Of(int32(2), "delete marker"),
		"1 copy":           Of(1, "copy"),
		"3 copies":         Of(3, "copy"),
		"3 batches":        Of(3, "batch"),
		"3 entries":        Of(3, "entry"),
		"4 keys":           Of(4, "key"),
		"1 object is":      Of(1, "object", "is", "are"),
		"2 objects are":    Of(2, "object", "is", "are"),
		"-1 rows":          Of(-1, "row"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestFew(t *testing.T) {
	for want, got := range map[string]string{
		"":                   Few(nil),
		"a":                  Few([]string{"a"}),
		"a, b, c":            Few([]string{"a", "b", "c"}),
		"a, b, c and 1 more": Few([]string{"a", "b", "c", "d"}),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
