"""The drop-in for `wandb.Api`: one file a family of objects; `mirror.Api` is the door."""
