package credential

import (
	"fmt"
	"io"
	"log/slog"
)

// hidden is what a secret looks like wherever it is printed, logged or encoded.
const hidden = "[secret]"

// Secret is a text that shows itself only to [Secret.Reveal]. It prints, logs and
// marshals as "[secret]" under every verb and as part of any other value.
type Secret struct {
	// A function, so that printing by reflection, which reaches the unexported
	// fields of other types, finds an address.
	reveal func() string
}

// NewSecret hides a text.
func NewSecret(text string) Secret { return Secret{func() string { return text }} }

// Reveal is the text.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// String hides the text.
func (s Secret) String() string { return hidden }

// GoString hides the text.
func (s Secret) GoString() string { return hidden }

// Format hides the text from every verb.
func (s Secret) Format(f fmt.State, _ rune) {
	// A failed write is the printer's to notice.
	_, _ = io.WriteString(f, hidden)
}

// MarshalText hides the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalJSON hides the text.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// LogValue hides the text.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
