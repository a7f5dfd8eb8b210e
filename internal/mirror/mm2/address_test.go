package mm2

import (
	"strings"
	"testing"
)

// TestAddressWithAPassword: an address that is none is named without what may be a
// password in it.
func TestAddressWithAPassword(t *testing.T) {
	for _, base := range []string{"http://user:hunter2%zz@connect:8083", "http://user:hunter2@connect:8083", "user:hunter2@connect:8083", "ftp://user:hun@ter2@connect"} {
		_, err := NewWorker(base, Login{})
		if err == nil || strings.Contains(err.Error(), "hun") || !strings.Contains(err.Error(), "connect") {
			t.Errorf("NewWorker: %v", err)
		}
	}
}
