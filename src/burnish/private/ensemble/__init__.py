"""An ensemble of prompted heads as one circuit: encrypted representations in, one encrypted label out."""
