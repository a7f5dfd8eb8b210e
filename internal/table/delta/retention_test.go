package delta_test

import (
	"testing"
	"time"

	"breakwater/internal/table/delta"
)

const day = 24 * time.Hour

func TestRetentionOf(t *testing.T) {
	r := delta.RetentionOf(map[string]string{"delta.deletedFileRetentionDuration": "interval 2 days"})
	if !r.Files.Understood || r.Files.For != 2*day || r.Files.Usual != 7*day || !r.Log.Understood || r.Log.For != 30*day {
		t.Errorf("%+v", r)
	}
	if r := delta.RetentionOf(map[string]string{"delta.logRetentionDuration": "as long as it takes"}); r.Log.Understood || r.Log.Property != "delta.logRetentionDuration" || !r.Files.Understood {
		t.Errorf("%+v", r)
	}
}
