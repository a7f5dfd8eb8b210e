package lake

import (
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/objectstore"
	"breakwater/internal/rewind/perform"
)

// WhatBuried is what [NotBuried] observes.
const WhatBuried = "nothing was written between the plan and the change"

// NotBuried observes that nobody wrote between the look and the change of a line.
func NotBuried(b objectstore.Bucket, under []perform.Buried) action.Observation {
	want := "under every change lies the version that the plan saw"
	if len(under) == 0 {
		return action.Saw(WhatBuried, want, want, true)
	}
	first := under[0]
	o := action.Saw(WhatBuried, want, fmt.Sprintf("%d keys hold another, the first: %s, version %s of %s; to undo this step brings it back, or copy it over yourself",
		len(under), b.URL(first.Line.Key), perform.OrNone(first.Version.Version), first.Version.Modified.UTC().Format(time.RFC3339Nano)), false)
	o.Item = b.URL(first.Line.Key)
	return o
}
