package server

import (
	"context"
	"syscall"
)

// Child is a server of a test: its process ends with the test's, however that ends.
// Nothing else may start it; see [Child.Run].
type Child struct{ Server }

// Test is the test that a server is for; *testing.T is one.
type Test interface {
	Helper()
	Context() context.Context
	Fatal(...any)
}

// Run is [Server.Run] of a child.
func (c *Child) Run(ctx context.Context) error {
	c.Command.Bound = true
	return c.Server.Run(ctx)
}

// Kill ends the server with SIGKILL, as a lost region does, and waits for that.
// Nothing happens if it is dead already.
func (c *Child) Kill() {
	if gone, ours := endOf(c.Process); ours {
		_ = c.Signal(syscall.SIGKILL) // the only error is that it is gone, which is what is wanted
		<-gone
	}
}

// Restart kills the server if it runs, and brings it back on its ports and data.
func (c *Child) Restart(t Test) {
	t.Helper()
	c.Kill()
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Freeze stops the process without ending it: connections are accepted and never
// answered. Thaw lets it go on.
func (c *Child) Freeze(t Test) {
	t.Helper()
	if err := Freeze(t.Context(), c.Pid); err != nil {
		t.Fatal(err)
	}
}

// Thaw ends what Freeze began.
func (c *Child) Thaw(t Test) {
	t.Helper()
	if err := Thaw(c.Pid); err != nil {
		t.Fatal(err)
	}
}
