ffmpeg -y -nostdin -i long.avi -c:v libx264 -preset medium out.mp4
