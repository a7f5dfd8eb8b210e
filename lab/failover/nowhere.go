package failover

import (
	"io"
	"log/slog"
)

// nowhere is a logger for clients whose server may be down: they say so in
// errors, and that is enough.
func nowhere() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }
