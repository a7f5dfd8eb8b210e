package server

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"
)

func TestFreeze(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if still, err := stands(pid); still || err != nil {
		t.Errorf("a busy process stands %t, %v", still, err)
	}
	if err := Freeze(t.Context(), pid); err != nil {
		t.Fatal(err)
	}
	if still, err := stands(pid); !still || err != nil {
		t.Errorf("a frozen process stands %t, %v", still, err)
	}
	if err := Thaw(pid); err != nil {
		t.Fatal(err)
	}
	if still, err := stands(pid); still || err != nil {
		t.Errorf("a thawed process stands %t, %v", still, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it was not killed")
	}
	if err := Freeze(t.Context(), pid); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("Freeze of a process that is gone = %v", err)
	}
}
