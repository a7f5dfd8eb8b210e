package lake

import (
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
	"breakwater/internal/rewind/perform"
)

// WhatBuried is what [NotBuried] observes.
const WhatBuried = "nothing was written between the plan and the change"

// NotBuried observes that nobody wrote between the look and the change of a line.
// n changes lie over something else; under are the first of them.
func NotBuried(b objectstore.Bucket, n int, under []perform.Buried) action.Observation {
	want := "under every change lies the version that the plan saw"
	if n == 0 {
		return action.Saw(WhatBuried, want, want, true)
	}
	first := under[0]
	o := action.Saw(WhatBuried, want, fmt.Sprintf("%s another, the first: %s, version %s of %s; to undo this step brings it back, or copy it over yourself",
		plural.Of(n, "key", "holds", "hold"), b.URL(first.Line.Key), perform.OrNone(first.Version.Version), first.Version.Modified.UTC().Format(time.RFC3339Nano)), false)
	o.Item = b.URL(first.Line.Key)
	return o
}
